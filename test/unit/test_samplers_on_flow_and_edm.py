"""All samplers and schedules over rectified flow and EDM: models of Gaussian data, whose samples are known."""

from dataclasses import replace

import pytest
import torch

from modules import model_families, rng, sd_samplers, sd_schedulers, shared, torchvision_ops
from modules.errors import InvalidInput
from modules.model_families import EdmSchedule, FlowSchedule
from modules.placement import Placement
from modules.sampling.steps import append_dims
from modules.sd_models_types import WebuiSdModel
from test.unit.sampler_jobs import job, no_picture, prompts, schedule, text

pytestmark = pytest.mark.usefixtures("fresh_state", "sd_model")

MEAN, STD = 0.3, 0.5
SCHEDULES = {
    "flow": FlowSchedule(shift=3.0),
    "edm": EdmSchedule(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5),
    "edm_v": EdmSchedule(sigma_min=0.002, sigma_max=120.0, sigma_data=1.0),
}
OVER_TIMESTEPS = ("DDIM", "DDIM CFG++", "PLMS", "UniPC", "LCM")
ADDS_NOISE = (
    "DPM++ SDE",
    "DPM++ 2M SDE",
    "DPM++ 2M SDE Heun",
    "DPM++ 2S a",
    "DPM++ 3M SDE",
    "Euler a",
    "DPM2 a",
    "DPM fast",
    "DPM adaptive",
    "Restart",
)


class Network(torch.nn.Module):
    """Predicts what the parameterization says of Gaussian data, whose mean is that of the text."""

    vector_width = None

    def __init__(self, parameterization):
        super().__init__()
        self.parameterization = parameterization
        self.deviation = getattr(SCHEDULES[parameterization], "sigma_data", None)

    def forward(self, x, t, context):
        x, t, means = x[:, :1], append_dims(t.float(), 4), append_dims(context.mean(dim=(1, 2)), 4)
        if self.parameterization == "flow":
            sigma = t / 1000
            return (x - self.denoised(x, 1 - sigma, sigma, means)) / sigma
        sigma, sign = (4 * t).exp(), 1 if self.parameterization == "edm" else -1
        norm = (sigma**2 + self.deviation**2).sqrt()
        denoised = self.denoised(x * norm, 1, sigma, means)
        return sign * (denoised - self.deviation**2 / norm * x) * norm / (sigma * self.deviation)

    def denoised(self, x, alpha, sigma, means):
        """The clean latent to expect where x is alpha of it, and sigma of noise."""
        return means + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x - alpha * means)


def model_of(parameterization):
    trained = SCHEDULES[parameterization]
    family = replace(model_families.SD1, schedule=trained)
    placement = Placement.from_flags(torch.device("cpu"))
    alphas = trained.alphas_cumprod()
    model = WebuiSdModel(family, Network(parameterization), None, None, alphas, parameterization, placement, trained)
    model.cond_stage_model_empty_prompt = torch.zeros(1, 2, 1)
    model.sd_checkpoint_info = None
    return model


@torch.inference_mode()
def sample(model, name, label, seeds=(1, 2), steps=3, cells=4, **fields):
    """Latents of a job, and its remarks."""
    remarks = []
    shape = (1, cells, cells)
    p = job(
        sampler_name=name,
        scheduler=label,
        steps=steps,
        all_seeds=list(seeds),
        rng=rng.ImageRNG(shape, list(seeds)),
        comment=remarks.append,
        **fields,
    )
    sampler = sd_samplers.create_sampler(name, model)
    told = prompts(*[schedule(text(MEAN))] * len(seeds)), [schedule(text(0.0))] * len(seeds)
    return sampler.sample(p, p.rng.next(), *told, image_conditioning=no_picture(len(seeds))), remarks


@pytest.mark.parametrize("parameterization", ["flow", "edm"])
def test_every_sampler_with_every_schedule(parameterization):
    model = model_of(parameterization)
    for row in sd_samplers.all_samplers:
        if row.name in OVER_TIMESTEPS:
            with pytest.raises(InvalidInput, match="choose"):
                sample(model, row.name, "Automatic")
            continue
        for kind in sd_schedulers.schedulers:
            latents, remarks = sample(model, row.name, kind.label)
            assert torch.isfinite(latents).all(), (row.name, kind.label)
            is_flow = parameterization == "flow"
            assert any("adds noise" in remark for remark in remarks) == (is_flow and row.name in ADDS_NOISE)
            begins_too_high = is_flow and kind.label == "Align Your Steps"
            assert any("noise level" in remark for remark in remarks) == begins_too_high
        if row.name != "DPM adaptive":  # whose steps are as the whole batch needs them
            alone, _ = sample(model, row.name, "Karras", seeds=[2])
            batch, _ = sample(model, row.name, "Karras")
            assert torch.equal(alone[0], batch[1]), row.name


@pytest.mark.parametrize("parameterization", SCHEDULES)
def test_samples_are_of_the_data(parameterization):
    """Whatever the job hears no remark on draws the right distribution."""
    model = model_of(parameterization)
    for name in [row.name for row in sd_samplers.all_samplers if row.name not in OVER_TIMESTEPS]:
        latents, remarks = sample(model, name, "SGM Uniform", seeds=[1], steps=16, cells=24, eta=0.0)
        if remarks:
            assert (parameterization, name) == ("flow", "Restart")  # which always adds noise
            continue
        assert abs(float(latents.mean()) - MEAN) < 0.06, name
        assert abs(float(latents.std()) - STD) < 0.13, name


def test_sgm_scaling_is_not_for_flow():
    model, recorded = model_of("flow"), {}
    expected, _ = sample(model, "Euler", "Automatic")
    with shared.opts.overlay({"sgm_noise_multiplier": True}):
        latents, _ = sample(model, "Euler", "Automatic", extra_generation_params=recorded)
    assert torch.equal(latents, expected) and "SGM noise multiplier" not in recorded


def test_heun_is_that_of_diffusers_on_flow():
    torchvision_ops.declare_missing()
    from diffusers import FlowMatchHeunDiscreteScheduler

    model, noise = model_of("flow"), rng.ImageRNG((1, 4, 4), [1]).next()
    theirs = FlowMatchHeunDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(8)
    levels = theirs.sigmas.unique().flip(0)
    ours, _ = sample(model, "Heun", "Automatic", [1], 8, sampler_noise_scheduler_override=lambda steps: levels)
    x = noise
    for t in theirs.timesteps:
        velocity = model.model.diffusion_model(x, t.view(1), text(MEAN)[None])
        x = theirs.step(velocity, t, x).prev_sample
    assert torch.allclose(ours, x, atol=1e-5)


def test_churn_on_flow_is_remarked_on():
    _, remarks = sample(model_of("flow"), "Euler", "Simple", s_churn=2.0)
    assert "adds noise" in remarks[0]
    assert not sample(model_of("flow"), "Euler a", "Simple", eta=0.0)[1]
