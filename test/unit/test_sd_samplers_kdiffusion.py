import json
from pathlib import Path

import pytest
import torch

from modules import rng, sampling, script_callbacks, sd_samplers, sd_samplers_kdiffusion, sd_schedulers, shared
from modules.sampling.denoisers import EpsDenoiser, VDenoiser
from modules.sd_samplers_common import SamplerData
from modules.sd_samplers_kdiffusion import CFGDenoiserKDiffusion, KDiffusionSampler
from test.ours import without_ours
from test.unit.sampler_jobs import STD, PromptModel, job, no_picture, prompts, schedule, text
from test.unit.sampling_oracles import Gaussian

pytestmark = pytest.mark.usefixtures("fresh_state")

TABLE = json.loads((Path(__file__).parents[1] / "data" / "samplers.json").read_text(encoding="utf8"))["samplers"]
K_ROWS = [row for row in TABLE if row["family"] == "k-diffusion"]
POSITIVE, NEGATIVE = prompts(schedule(text(3))), [schedule(text(-1))]


def sampler_for(name="Euler", model=None):
    return sd_samplers.create_sampler(name, model or PromptModel())


def sample(p, sampler=None, **arguments):
    sampler = sampler or sampler_for(p.sampler_name)
    noise = p.rng.next()
    images = len(noise)
    cond, uncond = prompts(*[schedule(text(3))] * images), NEGATIVE * images
    return sampler.sample(p, noise, cond, uncond, image_conditioning=no_picture(images), **arguments)


def sample_img2img(p, sampler, latent, **arguments):
    noise = p.rng.next()
    return sampler.sample_img2img(p, latent, noise, POSITIVE, NEGATIVE, image_conditioning=no_picture(), **arguments)


class TestTable:
    def test_rows_are_those_of_the_menu(self):
        rows = without_ours("samplers", sd_samplers_kdiffusion.samplers_data_k_diffusion, lambda row: row.name)
        assert [(x.name, x.aliases, x.options) for x in rows] == [
            (row["name"], row["aliases"], row["options"]) for row in K_ROWS
        ]

    @pytest.mark.parametrize("row", K_ROWS, ids=lambda row: row["name"])
    def test_solver_and_its_parameters(self, row):
        sampler = sampler_for(row["name"])
        solver = "sample_restart" if row["name"] == "Restart" else row["function"]
        assert sampler.func is getattr(sampling, solver)
        assert sampler.extra_params == row["extra_params"]
        taken = sampler._solver_arguments(
            job(),
            torch.zeros(1, 1, 4, 4),
            torch.tensor([2.0, 1.0, 0.0]),
            sigmas=torch.ones(3),
            sigma_min=1,
            sigma_max=2,
            n=3,
        )
        assert {"sigmas", "sigma_min", "sigma_max", "n"} & taken.keys() == set(row["takes"])
        assert ("eta" in taken) == row["eta"]["param"]

    def test_parameters_from_the_job_follow_from_the_signature(self):
        """The table that extensions add to is the one v1.10.1 has."""
        wanted = {row["function"]: row["extra_params"] for row in K_ROWS if row["extra_params"]}
        assert sd_samplers_kdiffusion.sampler_extra_params == wanted

        def sample_mine(model, x, sigmas, extra_args=None, callback=None, disable=None, s_noise=1.0, other=2.0):
            return x

        assert sd_samplers_kdiffusion.churn_params(sample_mine) == ["s_noise"]

    def test_the_maps_hold_the_same_rows(self):
        assert sd_samplers_kdiffusion.k_diffusion_samplers_map["Euler"].name == "Euler"
        assert sd_samplers_kdiffusion.k_diffusion_scheduler["karras"] is sampling.get_sigmas_karras


class TestSchedule:
    def sigmas(self, name="Euler", steps=4, **fields):
        p = job(**fields)
        return sampler_for(name).get_sigmas(p, steps), p.extra_generation_params

    def test_automatic_is_the_table_for_samplers_without_a_schedule(self):
        sigmas, infotext = self.sigmas()
        assert torch.equal(sigmas, EpsDenoiser(PromptModel()).get_sigmas(4))
        assert infotext == {}

    def test_automatic_is_the_samplers_own(self):
        sigmas, infotext = self.sigmas("DPM++ 2M")
        assert infotext == {"Schedule type": "Karras"}
        assert torch.equal(sigmas, self.sigmas(scheduler="Karras")[0])

    def test_may_be_named_by_name_or_label(self):
        for name in ("sgm_uniform", "SGM Uniform"):
            sigmas, infotext = self.sigmas(scheduler=name)
            assert infotext == {"Schedule type": "SGM Uniform"}
            assert len(sigmas) == 5

    @pytest.mark.parametrize("name", ["No such schedule", None])
    def test_unknown_ones_and_none_are_the_table(self, name):
        sigmas, infotext = self.sigmas(scheduler=name)
        assert torch.equal(sigmas, self.sigmas()[0])
        assert infotext == {}

    def test_hires_pass_has_its_own_and_records_it_if_it_differs(self):
        for hires, recorded in (("Karras", {}), ("Exponential", {"Hires schedule type": "Exponential"})):
            first = {"Schedule type": "Karras"}
            _, infotext = self.sigmas(is_hr_pass=True, hr_scheduler=hires, extra_generation_params=dict(first))
            assert infotext == first | recorded

    def test_a_function_of_the_job_wins(self):
        wanted = torch.tensor([5.0, 1.0, 0.0])
        sigmas, infotext = self.sigmas(scheduler="Karras", sampler_noise_scheduler_override=lambda n: wanted * n)
        assert torch.equal(sigmas, wanted * 4)
        assert infotext == {}

    def test_drops_the_penultimate_level_for_some_samplers(self):
        sigmas, infotext = self.sigmas("DPM2")
        longer, _ = self.sigmas(scheduler="Karras", steps=5)
        assert sigmas.tolist() == [*longer[:-2].tolist(), 0.0]
        assert infotext == {"Schedule type": "Karras"}

    def test_drops_it_for_all_with_a_setting_which_is_recorded(self, settings):
        settings(always_discard_next_to_last_sigma=True)
        sigmas, infotext = self.sigmas(scheduler="Karras")
        assert len(sigmas) == 5
        assert list(infotext) == ["Discard penultimate sigma", "Schedule type"]
        assert self.sigmas("DPM2")[1] == {"Schedule type": "Karras"}

    def test_range_and_rho_come_from_settings_and_are_recorded(self, settings):
        settings(sigma_min=0.1, sigma_max=9.0, rho=3.0)
        sigmas, infotext = self.sigmas(scheduler="Karras")
        assert torch.equal(sigmas, sampling.get_sigmas_karras(4, 0.1, 9.0, 3.0))
        assert list(infotext.items()) == [
            ("Schedule type", "Karras"),
            ("Schedule min sigma", 0.1),
            ("Schedule max sigma", 9.0),
            ("Schedule rho", 3.0),
        ]
        assert "Schedule rho" not in self.sigmas(scheduler="Exponential")[1]

    def test_neutral_settings_are_not_recorded(self, settings):
        settings(rho=7.0)
        assert self.sigmas(scheduler="Karras")[1] == {"Schedule type": "Karras"}

    def test_old_range(self, settings):
        settings(use_old_karras_scheduler_sigmas=True)
        sigmas, infotext = self.sigmas(scheduler="Karras")
        assert (float(sigmas[0]), float(sigmas[-2])) == pytest.approx((10.0, 0.1))
        assert infotext == {"Schedule type": "Karras"}

    def test_beta_records_its_parameters(self, settings):
        settings(beta_dist_alpha=0.8, beta_dist_beta=0.5)
        _, infotext = self.sigmas(scheduler="Beta")
        assert infotext == {"Schedule type": "Beta", "Beta schedule alpha": 0.8, "Beta schedule beta": 0.5}


class TestTxt2Img:
    @pytest.mark.parametrize("row", K_ROWS, ids=lambda row: row["name"])
    def test_makes_what_the_prompt_says(self, row):
        model = PromptModel()
        p = job(sampler_name=row["name"], steps=20, all_seeds=[1, 2])
        samples = sample(p, sampler_for(row["name"], model))
        assert samples.shape == (2, 1, 4, 4)
        assert float(samples.mean()) == pytest.approx(3.0, abs=0.5)
        assert shared.state.sampling_steps == 20

    def test_starts_from_noise_scaled_to_the_first_level(self):
        p = job(steps=1)
        model = PromptModel()
        sample(p, sampler_for(model=model))
        sigma = EpsDenoiser(model).sigmas[-1]
        noise = rng.ImageRNG((1, 4, 4), [1]).next()
        assert model.calls[0].x[:1] * (1 + sigma**2) ** 0.5 == pytest.approx(noise * sigma, rel=1e-4)

    def test_sgm_scaling_is_a_little_more(self, settings):
        settings(sgm_noise_multiplier=True)
        p = job(steps=1)
        model = PromptModel()
        sample(p, sampler_for(model=model))
        noise = rng.ImageRNG((1, 4, 4), [1]).next()
        assert model.calls[0].x[:1] == pytest.approx(noise, rel=1e-4)
        assert p.extra_generation_params == {"SGM noise multiplier": True}

    def test_v_models_give_the_same_picture(self):
        p, q = job(), job()
        sampler = sampler_for(model=PromptModel("v"))
        assert isinstance(sampler.model_wrap, VDenoiser)
        assert sample(p, sampler) == pytest.approx(sample(q), abs=1e-3)

    def test_steps_argument_replaces_those_of_the_job(self):
        p = job(steps=4)
        model = PromptModel()
        sample(p, sampler_for(model=model), steps=2)
        assert len(model.calls) == 2

    def test_heun_variant_of_the_sde_differs(self):
        two_m, heun = (sample(job(sampler_name=name, steps=6)) for name in ("DPM++ 2M SDE", "DPM++ 2M SDE Heun"))
        assert not torch.equal(two_m, heun)

    def test_dpm_fast_gets_the_ends_of_the_table_and_the_number_of_steps(self):
        model = PromptModel()
        sample(job(steps=5), sampler_for("DPM fast", model))
        assert len(model.calls) == 5
        assert float(model.calls[0].t[0]) == pytest.approx(999.0)

    @pytest.mark.parametrize("name", ["Euler a", "DPM++ SDE", "Restart"])
    def test_an_image_is_the_same_in_any_batch(self, name):
        together = sample(job(sampler_name=name, steps=22, all_seeds=[1, 2]))
        alone = sample(job(sampler_name=name, steps=22, all_seeds=[2]))
        assert together[1:] == pytest.approx(alone, abs=1e-5)

    def test_second_batch_uses_its_own_seeds_for_brownian_noise(self):
        p = job(sampler_name="DPM++ SDE", all_seeds=[1, 2], batch_size=1, iteration=1, rng=rng.ImageRNG((1, 4, 4), [2]))
        assert torch.equal(sample(p), sample(job(sampler_name="DPM++ SDE", all_seeds=[2])))

    def test_brownian_noise_of_the_batch_if_wanted(self, settings):
        settings(no_dpmpp_sde_batch_determinism=True)
        p = job(sampler_name="DPM++ SDE", all_seeds=[1, 2])
        first, again = sample(p), sample(job(sampler_name="DPM++ SDE", all_seeds=[1, 2]))
        assert torch.equal(first, again)
        assert not torch.equal(first[1:], sample(job(sampler_name="DPM++ SDE", all_seeds=[2])))

    def test_infotext_of_eta_and_churn(self, settings):
        settings(s_churn=4.0, s_tmax=8.0, s_noise=1.05)
        p = job(eta=0.5)
        sample(p)
        assert list(p.extra_generation_params.items()) == [
            ("Sigma churn", 4.0),
            ("Sigma tmax", 8.0),
            ("Sigma noise", 1.05),
        ]
        assert (p.s_churn, p.s_tmax) == (4.0, 8.0)
        p = job(eta=0.5, sampler_name="Euler a")
        sample(p)
        assert p.extra_generation_params == {"Eta": 0.5}

    def test_churn_of_the_request_is_used_and_not_recorded(self):
        p = job(s_churn=4.0)
        assert not torch.equal(sample(p), sample(job()))
        assert p.extra_generation_params == {}

    def test_eta_setting(self, settings):
        settings(eta_ancestral=0.0)
        p = job(sampler_name="Euler a")
        assert sample(p) == pytest.approx(sample(job()), abs=1e-5)
        assert p.extra_generation_params == {"Eta": 0.0}

    @pytest.mark.parametrize(
        ("setting", "key"), [("pad_cond_uncond", "Pad conds"), ("pad_cond_uncond_v0", "Pad conds v0")]
    )
    def test_padded_prompts_are_recorded(self, settings, setting, key):
        settings(**{setting: True})
        p = job()
        cond = prompts(schedule(text(3, length=6)))
        sampler_for().sample(p, p.rng.next(), cond, NEGATIVE, image_conditioning=no_picture())
        assert p.extra_generation_params == {key: True}

    def test_counts_the_steps(self):
        steps = []
        sampler = sampler_for()
        original = sampler.callback_state
        sampler.callback_state = lambda d: (original(d), steps.append(shared.state.sampling_step))
        sample(job(steps=3), sampler)
        assert steps == [0, 1, 2]


class TestInterruption:
    def test_returns_the_last_prediction(self):
        model = PromptModel()
        sampler = sampler_for(model=model)
        original = sampler.callback_state

        def interrupt(d):
            original(d)
            shared.state.interrupted = d["i"] == 1

        sampler.callback_state = interrupt
        samples = sample(job(steps=8), sampler)
        assert len(model.calls) == 2
        assert samples is sampler.last_latent
        assert float(samples.mean()) == pytest.approx(3.0, abs=0.5)

    def test_before_the_first_call_returns_the_start(self):
        shared.state.skipped = True
        p = job()
        sampler = sampler_for()
        samples = sample(p, sampler)
        assert samples == pytest.approx(rng.ImageRNG((1, 4, 4), [1]).next() * sampler.model_wrap.sigmas[-1])


LATENT = torch.linspace(-1, 1, 16).view(1, 1, 4, 4)


class TestImg2Img:
    @pytest.mark.parametrize("row", K_ROWS, ids=lambda row: row["name"])
    def test_moves_the_latent_to_the_prompt(self, row):
        p = job(sampler_name=row["name"], steps=20, denoising_strength=0.9)
        samples = sample_img2img(p, sampler_for(row["name"]), LATENT)
        assert float(samples.mean()) == pytest.approx(3.0, abs=0.6)
        assert shared.state.sampling_steps == 19

    def test_starts_at_the_level_of_the_strength(self):
        model = PromptModel()
        sampler = sampler_for(model=model)
        p = job(steps=10, denoising_strength=0.5)
        sample_img2img(p, sampler, LATENT)
        sigmas = sampler.get_sigmas(p, 10)[10 - 5 - 1 :]
        assert len(model.calls) == 6
        noisy = LATENT + rng.ImageRNG((1, 4, 4), [1]).next() * sigmas[0]
        assert model.calls[0].x[:1] * (1 + sigmas[0] ** 2) ** 0.5 == pytest.approx(noisy, rel=1e-4)

    def test_a_deterministic_solver_follows_the_exact_path(self):
        sampler = sampler_for("DPM++ 2M")
        p = job(sampler_name="DPM++ 2M", steps=200, denoising_strength=0.5)
        samples = sample_img2img(p, sampler, LATENT)
        sigmas = sampler.get_sigmas(p, 200)[200 - 100 - 1 :]
        noisy = LATENT + rng.ImageRNG((1, 4, 4), [1]).next() * sigmas[0]
        exact = Gaussian(3.0, STD).solution(noisy, float(sigmas[0]), float(sigmas[-2]))
        assert samples == pytest.approx(exact, abs=0.02)

    def test_strength_0_with_explicit_steps_changes_nothing(self):
        p = job(denoising_strength=0.0)
        assert sample_img2img(p, sampler_for(), LATENT, steps=4) is LATENT

    def test_without_a_call_the_result_is_the_latent(self):
        shared.state.interrupted = True
        assert sample_img2img(job(), sampler_for(), LATENT) is LATENT

    def test_extra_noise_is_added_and_may_be_replaced(self, settings):
        settings(img2img_extra_noise=0.5)
        seen = []

        def replace(params):
            seen.append(params)
            params.noise = torch.ones_like(params.noise)

        script_callbacks.on_extra_noise(replace)
        model = PromptModel()
        p = job(steps=1, denoising_strength=0.5)
        sampler = sampler_for(model=model)
        try:
            sample_img2img(p, sampler, LATENT)
        finally:
            script_callbacks.remove_callbacks_for_function(replace)
        (params,) = seen
        sigma = sampler.get_sigmas(p, 1)[0]
        assert torch.equal(params.x, LATENT)
        assert params.xi == pytest.approx(LATENT + rng.ImageRNG((1, 4, 4), [1]).next() * sigma, rel=1e-5)
        assert model.calls[0].x[:1] * (1 + sigma**2) ** 0.5 == pytest.approx(params.xi + 0.5, rel=1e-4)
        assert p.extra_generation_params == {"Extra noise": 0.5}

    def test_dpm_fast_gets_the_ends_of_what_is_run(self):
        model = PromptModel()
        sampler = sampler_for("DPM fast", model)
        p = job(steps=10, denoising_strength=0.5)
        sample_img2img(p, sampler, LATENT)
        assert len(model.calls) == 6
        sigma = sampler.get_sigmas(p, 10)[4:5]
        assert float(model.calls[0].t[0]) == pytest.approx(float(sampler.model_wrap.sigma_to_t(sigma)), rel=1e-4)


class TestSolversOfExtensions:
    def test_get_what_their_signature_names(self):
        seen = {}

        def sample_mine(model, x, sigmas, extra_args=None, callback=None, disable=None, s_churn=0.0, eta=1.0,
                        noise_sampler=None, sigma_sched=None):  # fmt: skip
            seen.update(sigmas=sigmas, s_churn=s_churn, eta=eta, noise=noise_sampler(1, 2), sigma_sched=sigma_sched)
            return model(x, sigmas[0] * x.new_ones(1), **extra_args)

        sd_samplers_kdiffusion.sampler_extra_params[sample_mine] = ["s_churn"]
        sampler = KDiffusionSampler(sample_mine, PromptModel())
        p = job(s_churn=3.0)
        sample(p, sampler)
        assert (seen["s_churn"], seen["eta"], seen["noise"].shape) == (3.0, 1.0, (1, 1, 4, 4))
        assert torch.equal(seen["sigmas"], seen["sigma_sched"])
        del sd_samplers_kdiffusion.sampler_extra_params[sample_mine]

    def test_are_found_by_name_in_the_sampling_package(self, monkeypatch):
        monkeypatch.setattr(sampling, "sample_mine", lambda model, x, sigmas, **kwargs: x * 0, raising=False)
        sampler = KDiffusionSampler("sample_mine", PromptModel(), {"an": "option"})
        assert float(sample(job(), sampler).abs().max()) == 0
        assert sampler.options == {"an": "option"}

    def test_schedules_appended_to_the_registry_are_used(self, monkeypatch):
        mine = sd_schedulers.Scheduler("mine", "Mine", lambda n, sigma_min, sigma_max, device: torch.tensor([3.0, 0.0]))
        monkeypatch.setitem(sd_schedulers.schedulers_map, "mine", mine)
        p = job(scheduler="mine")
        assert sampler_for().get_sigmas(p, 1).tolist() == [3.0, 0.0]
        assert p.extra_generation_params == {"Schedule type": "Mine"}

    def test_rows_may_be_made_without_options(self):
        row = SamplerData("Mine", lambda model: KDiffusionSampler("sample_euler", model), [], {})
        assert row.total_steps(5) == 5
        assert row.constructor(PromptModel()).config.options == {}


class OwnDenoiser(CFGDenoiserKDiffusion):
    """Guidance of an extension."""

    @property
    def inner_model(self):
        self.asked = True
        return super().inner_model

    def combine_denoised(self, x_out, conds_list, uncond, cond_scale):
        return super().combine_denoised(x_out, conds_list, uncond, cond_scale) + 5


class OwnSampler(KDiffusionSampler):
    """A sampler of an extension, written out as v1.10.1's own are."""

    def __init__(self, funcname, sd_model, options=None):
        super().__init__(funcname, sd_model, options)
        self.model_wrap_cfg = OwnDenoiser(self)
        self.model_wrap = self.model_wrap_cfg.inner_model
        self.seen = []

    def callback_state(self, d):
        super().callback_state(d)
        self.seen.append(d["i"])

    def get_sigmas(self, p, steps):
        return super().get_sigmas(p, steps)[1:]

    def sample(self, p, x, conditioning, unconditional_conditioning, steps=None, image_conditioning=None):
        sigmas = self.get_sigmas(p, steps or p.steps)
        arguments = self.initialize(p) | {"sigmas": sigmas}
        self.last_latent = x = x * sigmas[0]
        self.sampler_extra_args = {
            "cond": conditioning,
            "image_cond": image_conditioning,
            "uncond": unconditional_conditioning,
            "cond_scale": p.cfg_scale,
            "s_min_uncond": self.s_min_uncond,
        }
        samples = self.launch_sampling(
            len(sigmas) - 1,
            lambda: self.func(
                self.model_wrap_cfg,
                x,
                extra_args=self.sampler_extra_args,
                disable=True,
                callback=self.callback_state,
                **arguments,
            ),
        )
        self.add_infotext(p)
        return samples


class TestSamplersOfExtensions:
    def test_may_be_written_over_the_base_class(self):
        sampler = OwnSampler("sample_euler", PromptModel())
        plain = sample(job(steps=6), KDiffusionSampler("sample_euler", PromptModel()))
        own = sample(job(steps=6), sampler)
        assert sampler.seen == [0, 1, 2, 3, 4] and sampler.model_wrap_cfg.asked
        assert float((own - plain).mean()) > 4

    def test_inherit_img2img(self):
        sampler = OwnSampler("sample_euler", PromptModel())
        p = job(steps=6, denoising_strength=0.9)
        assert float(sample_img2img(p, sampler, LATENT).mean()) > 5
        assert sampler.seen
