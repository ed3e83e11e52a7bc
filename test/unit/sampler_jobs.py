"""A job for sampler tests, and models around a network that predicts a Gaussian whose mean the prompt tells."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import torch
from torch import nn

from modules import model_families, rng
from modules.model_families.base import MASKED
from modules.placement import Placement
from modules.prompt_parser import (
    ComposableScheduledPromptConditioning,
    MulticondLearnedConditioning,
    ScheduledPromptConditioning,
)
from modules.sd_models_types import WebuiSdModel
from test.unit.sampling_oracles import ALPHAS_CUMPROD, Gaussian, alpha_at

STD = 0.5
LAST_STEP = 10**6
LATENT_CHANNELS = 1
VECTOR_WIDTH = 3


class GaussianUnet(nn.Module):
    """Predicts eps or v of Gaussian data of std 0.5, with the arguments of every U-Net of `diffusion_model`.

    The mean is the mean of the text tokens, plus that of the vector and of the channels beyond those of the latent.
    calls: what each evaluation got.
    """

    def __init__(self, parameterization: str, vector_width: int | None) -> None:
        super().__init__()
        self.parameterization = parameterization
        self.vector_width = vector_width
        self.calls: list[SimpleNamespace] = []

    def forward(self, x, timesteps, context, y=None):
        x, image = x[:, :LATENT_CHANNELS], x[:, LATENT_CHANNELS:]
        means = context.mean(dim=(1, 2))
        if image.shape[1]:
            means = means + image.mean(dim=(1, 2, 3))
        if y is not None:
            means = means + y.mean(dim=1)
        call = {"x": x, "image": image, "t": timesteps, "text": context, "vector": y}
        length = context.shape[1]
        self.calls.append(SimpleNamespace(rows=len(x), tokens=length, means=means.tolist(), **call))

        alpha = alpha_at(timesteps).float().view(-1, 1, 1, 1)
        x0 = Gaussian(means.view(-1, 1, 1, 1), STD).denoise(x / alpha**0.5, ((1 - alpha) / alpha).flatten() ** 0.5)
        eps = (x - alpha**0.5 * x0) / (1 - alpha) ** 0.5
        return eps if self.parameterization == "eps" else alpha**0.5 * eps - (1 - alpha) ** 0.5 * x0


class PromptModel(WebuiSdModel):
    """A model of Gaussian data whose mean is what the prompt says. Its empty prompt is two tokens of 9.

    takes_vector: whether its network takes a vector beside the text, as that of SDXL.
    """

    def __init__(
        self,
        parameterization: str = "eps",
        conditioning_key: str = "crossattn",
        architecture: str = "sd1",
        takes_vector: bool = False,
    ) -> None:
        family = replace(
            model_families.SD1,
            conditioning_key=conditioning_key,
            architecture=architecture,
            image=None if conditioning_key == "crossattn" else MASKED,
        )
        unet = GaussianUnet(parameterization, VECTOR_WIDTH if takes_vector else None)
        placement = Placement.from_flags(torch.device("cpu"))
        super().__init__(family, unet, None, None, ALPHAS_CUMPROD, parameterization, placement)
        self.cond_stage_model_empty_prompt = torch.full((1, 2, 1), 9.0)
        self.sd_checkpoint_info = "base checkpoint"

    @property
    def calls(self) -> list[SimpleNamespace]:
        """What each evaluation of the network got."""
        return self.model.diffusion_model.calls

    @property
    def rows(self) -> list[int]:
        """Rows of each evaluation."""
        return [call.rows for call in self.calls]


def text(mean: float, length: int = 2, width: int = 1) -> torch.Tensor:
    """(length, width): what a prompt is encoded to."""
    return torch.full((length, width), float(mean))


def two_part_text(mean: float, length: int = 2) -> dict[str, torch.Tensor]:
    """What a model with a vector encodes a prompt to."""
    return {"crossattn": text(mean, length), "vector": torch.full((VECTOR_WIDTH,), float(mean))}


def schedule(*entries) -> list[ScheduledPromptConditioning]:
    """A prompt: one text for all steps, or (last step, text) pairs."""
    if not isinstance(entries[0], tuple):
        entries = [(LAST_STEP, entries[0])]
    return [ScheduledPromptConditioning(step, cond) for step, cond in entries]


def prompts(*images) -> MulticondLearnedConditioning:
    """Positive prompts: per image one schedule, or a list of (schedule, weight) parts."""
    batch = []
    for image in images:
        parts = image if isinstance(image[0], tuple) and isinstance(image[0][0], list) else [(image, 1.0)]
        batch.append([ComposableScheduledPromptConditioning(*part) for part in parts])
    return MulticondLearnedConditioning((len(batch),), batch)


def job(**fields) -> SimpleNamespace:
    """The fields of a txt2img job that samplers read."""
    seeds = fields.pop("all_seeds", [1])
    defaults = {
        "all_seeds": seeds,
        "iteration": 0,
        "batch_size": len(seeds),
        "steps": 4,
        "cfg_scale": 1.0,
        "eta": None,
        "s_min_uncond": 0.0,
        "s_churn": 0.0,
        "s_tmin": 0.0,
        "s_tmax": float("inf"),
        "s_noise": 1.0,
        "scheduler": "Automatic",
        "hr_scheduler": None,
        "is_hr_pass": False,
        "sampler_noise_scheduler_override": None,
        "denoising_strength": 0.6,
        "refiner_checkpoint_info": None,
        "refiner_switch_at": None,
        "scripts": None,
        "extra_generation_params": {},
        "sampler_name": "Euler",
        "sampler": None,
        "rng": rng.ImageRNG((1, 4, 4), seeds),
    }
    return SimpleNamespace(**defaults | fields)


def no_picture(images: int = 1) -> torch.Tensor:
    """What models that see no image get in its place."""
    return torch.zeros(images, 5, 1, 1)
