import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from modules import errors, latents, sd_models, sd_samplers, sd_samplers_common, shared
from modules.sd_samplers_common import InterruptedException, Sampler, SamplerData, SamplerSettings
from test.unit.sampler_jobs import PromptModel, job, no_picture, prompts, schedule, text

pytestmark = pytest.mark.usefixtures("fresh_state")

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "test_vectors.json").read_text(encoding="utf8"))


@pytest.mark.parametrize("row", VECTORS["img2img_steps"], ids=str)
def test_img2img_steps(row, settings):
    settings(img2img_fix_steps=row["fix_steps"])
    p = SimpleNamespace(steps=row["steps"], denoising_strength=row["strength"])
    assert sd_samplers_common.setup_img2img_steps(p, row["explicit"]) == (row["schedule_steps"], row["t_enc"])


def test_negative_strength_is_refused():
    with pytest.raises(errors.InvalidInput) as caught:
        sd_samplers_common.setup_img2img_steps(SimpleNamespace(steps=4, denoising_strength=-0.5))
    assert caught.value.field == "denoising_strength"


def test_settings_are_those_of_the_options_and_do_not_change(settings):
    settings(rho=3.5)
    taken = SamplerSettings.from_opts(shared.opts)
    assert taken.rho == 3.5
    with pytest.raises(AttributeError):
        taken.rho = 1.0


def sample(sampler, p):
    cond, uncond = prompts(schedule(text(3))), [schedule(text(-1))]
    return sampler.sample(p, p.rng.next(), cond, uncond, image_conditioning=no_picture())


class TestSettingsOfAPass:
    @pytest.fixture
    def made(self, monkeypatch):
        """The settings that were made, in their order."""
        made = []
        from_opts = SamplerSettings.from_opts.__func__

        def record(cls, *args):
            made.append(from_opts(cls, *args))
            return made[-1]

        monkeypatch.setattr(SamplerSettings, "from_opts", classmethod(record))
        return made

    @pytest.mark.parametrize("name", [row.name for row in sd_samplers.all_samplers])
    def test_are_made_once(self, made, name):
        sampler = sd_samplers.create_sampler(name, PromptModel())
        sample(sampler, job(sampler_name=name))
        assert len(made) == 1
        assert sampler.settings is made[0]

    def test_are_made_once_for_img2img(self, made):
        p = job()
        sampler = sd_samplers.create_sampler("Euler", PromptModel())
        arguments = (p, torch.zeros(1, 1, 4, 4), p.rng.next(), prompts(schedule(text(3))), [schedule(text(-1))])
        sampler.sample_img2img(*arguments, image_conditioning=no_picture())
        assert len(made) == 1

    def test_are_those_of_its_beginning(self, settings):
        sampler = sd_samplers.create_sampler("Euler", PromptModel())
        with shared.opts.overlay({"skip_early_cond": 1.0}):
            sample(sampler, job())
        with_overlay = list(sampler.sd_model.rows)
        sample(sampler, job())
        assert (with_overlay, sampler.sd_model.rows[4:]) == ([1] * 4, [2] * 4)

    def test_are_those_of_now_for_scripts_that_ask_before_it(self, settings):
        sampler = sd_samplers.create_sampler("Euler", PromptModel())
        settings(always_discard_next_to_last_sigma=True)
        p = job()
        assert len(sampler.get_sigmas(p, 4)) == 5
        assert p.extra_generation_params == {"Discard penultimate sigma": True}

    def test_have_the_eta_that_the_sampler_names(self, settings):
        settings(eta_ddim=0.25, eta_ancestral=0.75)
        etas = [sampler_of(job(), name).eta for name in ("DDIM", "Euler a")]
        assert etas == [0.25, 0.75]
        assert sampler_of(job(eta=0.5), "DDIM").eta == 0.5


def test_rows_double_the_calls_of_second_order():
    assert SamplerData("a", None, [], {"second_order": True}).total_steps(4) == 8


class TestPreview:
    def test_latent_is_stored_for_other_threads(self):
        latent = torch.zeros(1, 4, 8, 8)
        sd_samplers_common.store_latent(latent)
        assert shared.state.current_latent is latent
        assert shared.state.current_image is None

    def test_is_decoded_here_where_no_other_thread_may(self, monkeypatch, settings):
        monkeypatch.setattr(shared, "parallel_processing_allowed", False)
        monkeypatch.setattr(latents, "sample_to_image", lambda samples: "picture")
        settings(show_progress_every_n_steps=3)
        for step, wanted in ((1, None), (3, "picture")):
            shared.state.sampling_step = step
            sd_samplers_common.store_latent(torch.zeros(1, 4, 8, 8))
            assert shared.state.current_image == wanted

    @pytest.mark.parametrize("values", [{"live_previews_enable": False}, {"show_progress_every_n_steps": -1}])
    def test_is_not_decoded_if_not_wanted(self, monkeypatch, settings, values):
        monkeypatch.setattr(shared, "parallel_processing_allowed", False)
        settings(**values)
        sd_samplers_common.store_latent(torch.zeros(1, 4, 8, 8))
        assert shared.state.current_image is None


def sampler_of(p, name="Euler", model=None, total_steps=10):
    sampler = sd_samplers.create_sampler(name, model or PromptModel())
    sampler.initialize(p)
    sampler.model_wrap_cfg.total_steps = total_steps
    return sampler


class TestLaunch:
    def test_counts_steps_and_expected_calls(self):
        sampler = sampler_of(job(), "Heun")
        assert sampler.launch_sampling(4, lambda: "result") == "result"
        assert (sampler.model_wrap_cfg.steps, sampler.model_wrap_cfg.total_steps) == (4, 8)
        assert (shared.state.sampling_step, shared.state.sampling_steps) == (0, 4)

    @pytest.mark.parametrize("error", [InterruptedException, RecursionError])
    def test_returns_the_last_latent_if_ended_early(self, error):
        sampler = sampler_of(job())
        sampler.last_latent = "latent"

        def fail():
            raise error

        assert sampler.launch_sampling(4, fail) == "latent"

    def test_other_errors_pass(self):
        with pytest.raises(ZeroDivisionError):
            sampler_of(job()).launch_sampling(4, lambda: 1 / 0)

    def test_may_be_told_where_to_stop(self):
        sampler = sampler_of(job())
        sampler.stop_at = 2
        sampler.callback_state({"i": 2})
        assert shared.state.sampling_step == 2
        with pytest.raises(InterruptedException):
            sampler.callback_state({"i": 3})

    def test_interruption_is_no_exception_that_handlers_catch(self):
        assert not issubclass(InterruptedException, Exception)

    def test_base_class_samples_nothing(self):
        sampler = Sampler("none")
        with pytest.raises(NotImplementedError):
            sampler.sample(job(), None, None, None)
        with pytest.raises(NotImplementedError):
            sampler.sample_img2img(job(), None, None, None, None)


class TestArguments:
    def test_come_from_the_job(self):
        p = job(s_churn=2.0, s_tmin=0.1, s_tmax=9.0, s_noise=1.01, s_min_uncond=None)
        sampler = sampler_of(p)
        arguments = sampler.initialize(p)
        assert arguments == {"s_churn": 2.0, "s_tmin": 0.1, "s_tmax": 9.0, "s_noise": 1.01}
        assert p.extra_generation_params == {}
        assert sampler.s_min_uncond == 0.0

    def test_settings_that_are_not_neutral_win(self, settings):
        settings(s_tmin=0.3, s_tmax=0.0)
        p = job(s_tmin=0.1, s_tmax=9.0)
        arguments = sampler_of(p).initialize(p)
        assert (arguments["s_tmin"], arguments["s_tmax"]) == (0.3, 9.0)
        assert p.extra_generation_params == {"Sigma tmin": 0.3}

    def test_values_left_open_are_neutral(self):
        p = job(s_churn=None, s_tmax=None)
        arguments = sampler_of(p).initialize(p)
        assert (arguments["s_churn"], arguments["s_tmax"]) == (0.0, math.inf)

    def test_of_extensions_are_taken_from_the_job_too(self):
        def solver(model, x, sigmas, extra_args, callback, disable, strength=1.0):
            return x

        sampler = sampler_of(job())
        sampler.func, sampler.extra_params = solver, ["strength", "not_there"]
        assert sampler.initialize(job(strength=5.0)) == {"strength": 5.0}

    def test_denoiser_is_prepared_for_the_pass(self):
        p = job(mask="mask", nmask="nmask", image_cfg_scale=1.5)
        sampler = sampler_of(p)
        sampler.model_wrap_cfg.step = 9
        sampler.initialize(p)
        denoiser = sampler.model_wrap_cfg
        assert (denoiser.p, denoiser.mask, denoiser.nmask, denoiser.image_cfg_scale) == (p, "mask", "nmask", 1.5)
        assert denoiser.step == 0
        sampler.initialize(job())
        assert (denoiser.mask, denoiser.image_cfg_scale) == (None, None)


@pytest.fixture
def models(monkeypatch):
    """The base model is loaded; loading the refiner makes another one current. Yields the names of what was loaded."""
    loaded = []
    base, refiner = PromptModel(), PromptModel()
    refiner.sd_checkpoint_info = REFINER
    monkeypatch.setattr(sd_models.model_data, "sd_model", base)

    def reload_model_weights(sd_model=None, info=None):
        assert sd_models.SkipWritingToConfig.skip
        loaded.append(info.short_title)
        sd_models.model_data.sd_model = refiner

    monkeypatch.setattr(sd_models, "reload_model_weights", reload_model_weights)
    return SimpleNamespace(loaded=loaded, base=base, refiner=refiner)


REFINER = SimpleNamespace(short_title="refiner [0123456789]")


def refined_job(switch_at=0.5, **fields):
    p = job(refiner_checkpoint_info=REFINER, refiner_switch_at=switch_at, **fields)
    p.conds = "conds of the base"
    p.setup_conds = lambda: setattr(p, "conds", "conds of the refiner")
    p.get_conds = lambda: (p.conds, f"negative {p.conds}")
    return p


class TestRefiner:
    def switches(self, p, models, sigma=None, name="Euler", step=0):
        sampler = sampler_of(p, name, models.base)
        sampler.sampler_extra_args = {}
        sampler.model_wrap_cfg.step = step
        sigma = None if sigma is None else torch.tensor([sigma])
        return sd_samplers_common.apply_refiner(sampler.model_wrap_cfg, sigma), sampler

    def test_takes_over_below_the_level_of_the_share(self, models):
        for sigma, wanted in ((2.0, False), (1.0, True)):
            p = refined_job(0.5)
            assert self.switches(p, models, sigma)[0] == wanted
        assert models.loaded == ["refiner [0123456789]"]
        assert p.extra_generation_params == {"Refiner": "refiner [0123456789]", "Refiner switch at": 0.5}

    def test_brings_its_own_conds_and_wrapper(self, models):
        p = refined_job()
        _, sampler = self.switches(p, models, 1.0)
        assert sampler.sampler_extra_args == {
            "cond": "conds of the refiner",
            "uncond": "negative conds of the refiner",
        }
        assert sampler.model_wrap_cfg.inner_model.inner_model is models.refiner

    def test_counts_timesteps_for_samplers_that_have_those(self, models):
        assert not self.switches(refined_job(0.5), models, 520.0, "DDIM")[0]
        assert self.switches(refined_job(0.5), models, 480.0, "DDIM")[0]

    def test_has_a_short_table_with_lcm(self, models):
        assert not self.switches(refined_job(0.97), models, 14.0, "LCM")[0]
        assert self.switches(refined_job(0.95), models, 14.0, "LCM")[0]

    def test_counts_steps_if_wanted_and_records_that_always(self, models, settings):
        settings(refiner_switch_by_sample_steps=True)
        p = refined_job(0.5)
        assert not self.switches(p, models, 0.1, step=4)[0]
        assert p.extra_generation_params == {"Refiner switch by sampling steps": True}
        assert self.switches(p, models, 14.0, step=5)[0]
        p = job()
        self.switches(p, models, 1.0)
        assert p.extra_generation_params == {"Refiner switch by sampling steps": True}

    def test_takes_over_at_once_without_a_share(self, models):
        assert self.switches(refined_job(None), models, 14.0)[0]

    def test_is_not_loaded_twice(self, models):
        p = refined_job()
        assert self.switches(p, models, 1.0)[0]
        assert not self.switches(p, models, 1.0)[0]
        assert not self.switches(job(), models, 0.1)[0]
        assert len(models.loaded) == 1

    @pytest.mark.parametrize(
        ("only", "is_hr_pass", "wanted"),
        [
            ("first pass", False, True),
            ("first pass", True, False),
            ("second pass", False, False),
            ("second pass", True, True),
            ("both passes", False, True),
            ("both passes", True, True),
        ],
    )
    def test_stays_in_the_passes_of_hires_it_is_for(self, models, settings, only, is_hr_pass, wanted):
        settings(hires_fix_refiner_pass=only)
        p = refined_job(enable_hr=True, is_hr_pass=is_hr_pass)
        assert self.switches(p, models, 1.0)[0] == wanted
        assert ("Hires refiner" in p.extra_generation_params) == (wanted and only != "second pass")

    def test_goes_on_sampling_with_the_new_model(self, models):
        p = refined_job(0.5, steps=6)
        cond, uncond = prompts(schedule(text(3))), [schedule(text(-1))]
        p.get_conds = lambda: (prompts(schedule(text(-2))), uncond)
        sampler = sd_samplers.create_sampler("Euler", models.base)
        samples = sampler.sample(p, p.rng.next(), cond, uncond, image_conditioning=no_picture())
        assert models.base.rows + models.refiner.rows == [2] * 6
        assert models.base.calls[0].means[0] == 3
        assert models.refiner.calls[0].means[0] == -2
        assert float(samples.mean()) < 2
