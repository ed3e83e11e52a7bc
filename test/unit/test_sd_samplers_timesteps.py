import json
from pathlib import Path

import pytest
import torch

from modules import errors, rng, script_callbacks, sd_samplers, sd_samplers_compvis, sd_samplers_timesteps, shared
from modules.sd_samplers_timesteps import CompVisSampler
from test.ours import without_ours
from test.unit.sampler_jobs import PromptModel, job, no_picture, prompts, schedule, text

pytestmark = pytest.mark.usefixtures("fresh_state")

DATA = Path(__file__).parents[1] / "data"
VECTORS = json.loads((DATA / "test_vectors.json").read_text(encoding="utf8"))
TABLE = json.loads((DATA / "samplers.json").read_text(encoding="utf8"))["samplers"]
ROWS = [row for row in TABLE if row["family"] == "timesteps"]
NAMES = [row["name"] for row in ROWS]
POSITIVE, NEGATIVE = prompts(schedule(text(0.5))), [schedule(text(-1))]
LATENT = torch.linspace(-1, 1, 16).view(1, 1, 4, 4)


def sample(p, model=None):
    sampler = sd_samplers.create_sampler(p.sampler_name, model or PromptModel())
    return sampler.sample(p, p.rng.next(), POSITIVE, NEGATIVE, image_conditioning=no_picture())


def sample_img2img(p, model=None, **arguments):
    sampler = sd_samplers.create_sampler(p.sampler_name, model or PromptModel())
    noise = p.rng.next()
    return sampler.sample_img2img(p, LATENT, noise, POSITIVE, NEGATIVE, image_conditioning=no_picture(), **arguments)


def test_rows_are_those_of_the_menu():
    rows = without_ours("samplers", sd_samplers_timesteps.samplers_data_timesteps, lambda row: row.name)
    assert [(x.name, x.aliases, x.options) for x in rows] == [
        (row["name"], row["aliases"], row["options"]) for row in ROWS
    ]


@pytest.mark.parametrize("row", VECTORS["timesteps"], ids=lambda row: str(row["steps"]))
def test_timesteps(row):
    sampler = CompVisSampler(sd_samplers_timesteps.samplers_timesteps[0][1], PromptModel())
    timesteps = sampler.get_timesteps(job(), row["steps"]).tolist()
    assert [timesteps[0], timesteps[-1], len(timesteps)] == row["out_first_last_len"]


def test_more_steps_than_timesteps_are_no_error():
    sampler = CompVisSampler(sd_samplers_timesteps.samplers_timesteps[0][1], PromptModel())
    assert sampler.get_timesteps(job(), 2000).tolist() == [*range(1, 1000), 999]


def test_discarding_adds_a_step_and_is_recorded(settings):
    settings(always_discard_next_to_last_sigma=True)
    p = job(sampler_name="DDIM", steps=9)
    model = PromptModel()
    sample(p, model)
    assert p.extra_generation_params == {"Discard penultimate sigma": True}
    assert len(model.calls) == 9


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parameterization", ["eps", "v"])
def test_makes_what_the_prompt_says(name, parameterization):
    scale = 12.5 if name == "DDIM CFG++" else 1.0
    p = job(sampler_name=name, steps=25, cfg_scale=scale)
    samples = sample(p, PromptModel(parameterization))
    if name != "DDIM CFG++":
        assert float(samples.mean()) == pytest.approx(0.5, abs=0.4)
    assert torch.isfinite(samples).all()
    assert shared.state.sampling_steps == 25


def test_starts_from_unscaled_noise():
    model = PromptModel()
    sample(job(sampler_name="DDIM"), model)
    assert torch.equal(model.calls[0].x[:1], rng.ImageRNG((1, 4, 4), [1]).next())


def test_cfgpp_divides_the_scale(settings):
    p = job(sampler_name="DDIM CFG++", cfg_scale=12.5, steps=3)
    sampler = sd_samplers.create_sampler("DDIM CFG++", PromptModel())
    sampler.sample(p, p.rng.next(), POSITIVE, NEGATIVE, image_conditioning=no_picture())
    assert sampler.model_wrap_cfg.cond_scale_miltiplier == 1 / 12.5
    assert sampler.model_wrap_cfg.last_noise_uncond.shape == (1, 1, 4, 4)


def test_eta_is_recorded_where_the_solver_takes_it(settings):
    p = job(sampler_name="DDIM", eta=0.7)
    noisy = sample(p)
    assert p.extra_generation_params == {"Eta DDIM": 0.7}
    assert not torch.equal(noisy, sample(job(sampler_name="DDIM")))
    p = job(sampler_name="PLMS", eta=0.7)
    sample(p)
    assert p.extra_generation_params == {}
    settings(eta_ddim=0.3)
    p = job(sampler_name="DDIM CFG++")
    sample(p)
    assert p.extra_generation_params == {"Eta DDIM": 0.3}


def test_unipc_follows_its_settings(settings):
    usual = sample(job(sampler_name="UniPC", steps=6))
    for values in ({"uni_pc_variant": "bh2"}, {"uni_pc_skip_type": "time_quadratic"}, {"uni_pc_order": 1}):
        with shared.opts.overlay(values):
            assert not torch.equal(sample(job(sampler_name="UniPC", steps=6)), usual)


@pytest.mark.parametrize("name", NAMES)
def test_img2img_starts_at_the_timestep_of_the_strength(name):
    model = PromptModel()
    p = job(sampler_name=name, steps=10, denoising_strength=0.5)
    sample_img2img(p, model)
    alpha = model.alphas_cumprod[501]
    noisy = LATENT * alpha**0.5 + rng.ImageRNG((1, 4, 4), [1]).next() * (1 - alpha) ** 0.5
    assert model.calls[0].x[:1] == pytest.approx(noisy, rel=1e-4)
    assert float(model.calls[0].t[0]) == pytest.approx(401.0)
    assert shared.state.sampling_steps == 6


def test_extra_noise_is_scaled_with_the_latent(settings):
    settings(img2img_extra_noise=0.5)

    def replace(params):
        params.noise = torch.ones_like(params.noise)

    script_callbacks.on_extra_noise(replace)
    model = PromptModel()
    p = job(sampler_name="DDIM", steps=10, denoising_strength=0.5)
    try:
        sample_img2img(p, model)
    finally:
        script_callbacks.remove_callbacks_for_function(replace)
    alpha = model.alphas_cumprod[501]
    noisy = LATENT * alpha**0.5 + rng.ImageRNG((1, 4, 4), [1]).next() * (1 - alpha) ** 0.5 + 0.5 * alpha**0.5
    assert model.calls[0].x[:1] == pytest.approx(noisy, rel=1e-4)
    assert p.extra_generation_params == {"Extra noise": 0.5}


@pytest.mark.parametrize("name", NAMES)
def test_strength_0_returns_almost_the_latent(name):
    p = job(sampler_name=name, steps=10, denoising_strength=0.0)
    assert sample_img2img(p) == pytest.approx(LATENT, abs=0.2)
    assert sample_img2img(job(sampler_name=name, denoising_strength=0.0), steps=5) is LATENT


def test_interrupted_img2img_returns_the_latent():
    shared.state.interrupted = True
    assert sample_img2img(job(sampler_name="DDIM")) is LATENT


def test_interrupted_later_it_returns_the_clean_prediction():
    model = PromptModel()
    sampler = sd_samplers.create_sampler("DDIM", model)

    def interrupt(d):
        shared.state.interrupted = True

    sampler.callback_state = interrupt
    p = job(sampler_name="DDIM")
    samples = sampler.sample(p, p.rng.next(), POSITIVE, NEGATIVE, image_conditioning=no_picture())
    assert len(model.calls) == 1
    assert float(samples.mean()) == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_flow_models_are_refused(name):
    with pytest.raises(errors.InvalidInput, match="'flow'.*Euler") as caught:
        sd_samplers.create_sampler(name, PromptModel("flow"))
    assert caught.value.field == "sampler_name"


def test_older_names():
    assert sd_samplers_compvis.VanillaStableDiffusionSampler is CompVisSampler
    assert sd_samplers_compvis.samplers_data_timesteps is sd_samplers_timesteps.samplers_data_timesteps
    for name in ("CompVisTimestepsDenoiser", "CompVisTimestepsVDenoiser"):
        assert getattr(sd_samplers_timesteps, name)(PromptModel()).inner_model
