"""Euler, DPM++ 2M and DDIM give the latents of diffusers' own pipeline, on the same networks, prompt and schedule."""

import pytest
import torch

from modules import call_queue, processing
from test.quality import oracle

STEPS, CFG, SEED = 12, 7.0, 1234
TOLERANCE = 1e-4
"""Of latents whose values reach about 4: float noise over 12 steps."""


def our_job(**fields):
    """(final latents, sampler) of a job."""
    seen = {}

    class Kept(processing.StableDiffusionProcessingTxt2Img):
        def sample(self, *args, **kwargs):
            seen["latents"] = super().sample(*args, **kwargs).clone()
            seen["sampler"] = self.sampler
            return seen["latents"]

    p = Kept(prompt="red apple", steps=STEPS, cfg_scale=CFG, seed=SEED, width=128, height=128, **fields)
    p.do_not_save_samples = p.do_not_save_grid = True
    with call_queue.gpu_job("oracle"):
        processing.process_images(p)
    return seen["latents"], seen["sampler"]


def unscaled_noise() -> torch.Tensor:
    return processing.create_random_tensors((4, 16, 16), [SEED])


def sigmas_of(sampler) -> torch.Tensor:
    p = processing.StableDiffusionProcessingTxt2Img(steps=STEPS, scheduler="Karras")
    return sampler.get_sigmas(p, STEPS).cpu()


@pytest.mark.parametrize(
    ("sampler_name", "scheduler_class", "options"),
    [
        ("Euler", oracle.EulerOverSigmas, {}),
        ("DPM++ 2M", oracle.DPMSolverOverSigmas, {"euler_at_final": True, "final_sigmas_type": "zero"}),
    ],
)
def test_k_diffusion_samplers(sd_model, sampler_name, scheduler_class, options):
    ours, sampler = our_job(sampler_name=sampler_name, scheduler="Karras")
    sigmas, noise = sigmas_of(sampler), unscaled_noise()
    timesteps = sampler.model_wrap.sigma_to_t(sigmas[:-1])
    scheduler = scheduler_class(**oracle.BETAS, **options).use(sigmas, timesteps)
    if scheduler_class is oracle.DPMSolverOverSigmas:
        # The solver keeps x in the variance-preserving scale, where k-diffusion's x is x / sqrt(1 + sigma^2).
        noise = noise * sigmas[0] / torch.sqrt(1 + sigmas[0] ** 2)
    else:
        noise = noise * sigmas[0] / scheduler.init_noise_sigma
    theirs = oracle.latents_of(oracle.pipeline(sd_model, scheduler), "red apple", STEPS, CFG, noise)
    assert oracle.largest_difference(ours, theirs) < TOLERANCE


def test_ddim(sd_model):
    ours, _ = our_job(sampler_name="DDIM")
    step = 1000 // STEPS
    timesteps = [min(t + 1, 999) for t in range(0, 1000, step)][::-1]
    scheduler = oracle.DDIMOverTimesteps(**oracle.BETAS, clip_sample=False, set_alpha_to_one=False).use(timesteps)
    theirs = oracle.latents_of(oracle.pipeline(sd_model, scheduler), "red apple", STEPS, CFG, unscaled_noise())
    assert oracle.largest_difference(ours, theirs) < TOLERANCE
