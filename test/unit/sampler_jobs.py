"""A job for sampler tests, and a model that predicts a Gaussian whose mean the prompt tells."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from modules import rng
from modules.prompt_parser import (
    ComposableScheduledPromptConditioning,
    DictWithShape,
    MulticondLearnedConditioning,
    ScheduledPromptConditioning,
)
from test.unit.sampling_oracles import ALPHAS_CUMPROD, Gaussian, alpha_at

STD = 0.5
LAST_STEP = 10**6


class PromptModel:
    """Predicts eps or v of Gaussian data of std 0.5. Its mean is the mean of the text tokens, plus that of the picture.

    calls: (rows, tokens of the text, means) of each evaluation.
    """

    def __init__(self, parameterization: str = "eps", conditioning_key: str = "crossattn") -> None:
        self.parameterization = parameterization
        self.alphas_cumprod = ALPHAS_CUMPROD
        self.model = SimpleNamespace(conditioning_key=conditioning_key)
        self.cond_stage_model_empty_prompt = torch.full((1, 2, 1), 9.0)
        self.sd_checkpoint_info = "base checkpoint"
        self.is_sdxl = False
        self.calls: list[SimpleNamespace] = []

    def apply_model(self, x, t, cond):
        text = cond["crossattn"] if "crossattn" in cond else cond["c_crossattn"][0]
        means = text.mean(dim=(1, 2))
        if self.model.conditioning_key == "hybrid":
            means = means + cond["c_concat"][0].mean(dim=(1, 2, 3))
        self.calls.append(SimpleNamespace(rows=len(x), tokens=text.shape[1], means=means.tolist(), cond=cond, t=t, x=x))
        alpha = alpha_at(t).float().view(-1, 1, 1, 1)
        data = Gaussian(means.view(-1, 1, 1, 1), STD)
        x0 = data.denoise(x / alpha**0.5, ((1 - alpha) / alpha).flatten() ** 0.5)
        eps = (x - alpha**0.5 * x0) / (1 - alpha) ** 0.5
        return eps if self.parameterization == "eps" else alpha**0.5 * eps - (1 - alpha) ** 0.5 * x0

    @property
    def rows(self) -> list[int]:
        return [call.rows for call in self.calls]


def text(mean: float, length: int = 2, width: int = 1) -> torch.Tensor:
    """(length, width): what a prompt is encoded to."""
    return torch.full((length, width), float(mean))


def two_part_text(mean: float, length: int = 2) -> dict[str, torch.Tensor]:
    return {"crossattn": text(mean, length), "vector": torch.tensor([float(mean)])}


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
    return torch.zeros(images, 5, 1, 1)


__all__ = ["DictWithShape", "PromptModel", "job", "no_picture", "prompts", "schedule", "text", "two_part_text"]
