"""diffusers' StableDiffusionPipeline over the networks of `shared.sd_model`: an independent judge of samplers.

Its schedulers get our sigmas or timesteps, so that what is compared is the sampling itself.
"""

import numpy as np
import torch

from modules import cpu_layers, torchvision_ops

torchvision_ops.declare_missing()

from diffusers import (  # noqa: E402
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


class GivenSigmas:
    """Mixin: a scheduler that runs over the sigmas it is given, with the model times that belong to them."""

    def use(self, sigmas: torch.Tensor, timesteps: torch.Tensor):
        self.given = sigmas.cpu(), timesteps.cpu()
        return self

    def set_timesteps(self, num_inference_steps=None, device=None, **kwargs):
        super().set_timesteps(len(self.given[1]), device=device)
        self.sigmas, self.timesteps = self.given
        self.num_inference_steps = len(self.timesteps)


class EulerOverSigmas(GivenSigmas, EulerDiscreteScheduler):
    pass


class DPMSolverOverSigmas(GivenSigmas, DPMSolverMultistepScheduler):
    pass


class DDIMOverTimesteps(DDIMScheduler):
    """DDIM over given timesteps, the last of which is where it ends and gets no step of its own."""

    def use(self, timesteps: list[int]):
        self.given = timesteps
        return self

    def set_timesteps(self, num_inference_steps=None, device=None, **kwargs):
        super().set_timesteps(num_inference_steps, device=device)
        self.timesteps = torch.tensor(self.given[:-1])


def pipeline(sd_model, scheduler) -> StableDiffusionPipeline:
    """The pipeline over the loaded networks."""
    text = sd_model.cond_stage_model.wrapped
    pipe = StableDiffusionPipeline(
        vae=sd_model.first_stage_model,
        text_encoder=text.transformer.text_model,
        tokenizer=text.tokenizer,
        unet=sd_model.network("denoiser"),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents_of(pipe, prompt: str, steps: int, cfg_scale: float, noise: torch.Tensor) -> torch.Tensor:
    """Final latents (1, 4, h, w), unscaled noise given, as torch's own layers compute them."""
    with torch.inference_mode(), cpu_layers.left_out():
        return pipe(
            prompt=prompt,
            negative_prompt="",
            num_inference_steps=steps,
            guidance_scale=cfg_scale,
            height=noise.shape[-2] * 8,
            width=noise.shape[-1] * 8,
            latents=noise.clone(),
            output_type="latent",
        ).images


def largest_difference(a, b) -> float:
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())
