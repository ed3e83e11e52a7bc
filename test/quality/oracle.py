"""diffusers' StableDiffusionPipeline over the networks of `shared.sd_model`: an independent judge of samplers.

Its schedulers get our sigmas or timesteps, so that what is compared is the sampling itself.
"""

import numpy as np
import torch

from modules import torchvision_ops

torchvision_ops.declare_missing()

from diffusers import (  # noqa: E402
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
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


def untouched(made: torch.nn.Module, network: torch.nn.Module) -> torch.nn.Module:
    """A network of the library's own layers with the weights of a loaded one."""
    weights = {name.replace(".wrapped.", "."): weight for name, weight in network.state_dict().items()}  # of embeddings
    made.load_state_dict(weights, assign=True)
    return made.eval().requires_grad_(False)


def pipeline(sd_model, scheduler) -> StableDiffusionPipeline:
    """The pipeline over the weights of the loaded networks, as diffusers and transformers compute them."""
    text = sd_model.cond_stage_model.wrapped
    vae, unet, text_model = sd_model.first_stage_model, sd_model.network("denoiser"), text.transformer.text_model
    with torch.device("meta"):
        made = AutoencoderKL.from_config(vae.config), UNet2DConditionModel.from_config(unet.config)
    made_text = type(text_model)(text_model.config)  # has buffers beside its weights
    pipe = StableDiffusionPipeline(
        vae=untouched(made[0], vae),
        text_encoder=untouched(made_text, text_model),
        tokenizer=text.tokenizer,
        unet=untouched(made[1], unet),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents_of(pipe, prompt: str, steps: int, cfg_scale: float, noise: torch.Tensor) -> torch.Tensor:
    """Final latents (1, 4, h, w), unscaled noise given."""
    with torch.inference_mode():
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
