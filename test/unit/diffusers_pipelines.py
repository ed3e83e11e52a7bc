"""diffusers' own pipelines as an oracle: their schedulers as our samplers are, and checkpoints to compare with."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from modules import model_families, sd_models, shared, torchvision_ops
from modules.model_families.sd2 import CLIP_H
from modules.placement import Placement
from modules.sd_models import model_data
from modules.sd_models_types import WebuiSdModel
from modules.text_encoders.clip import tokenizer_dir

CPU = Placement(torch.device("cpu"), torch.float32, torch.float32, torch.float32)
EMBEDDED = "demo-emoji"
STEPS = 10
"""Of 111 timesteps each, so that the table's levels need no interpolation."""


@contextmanager
def chosen_from(folder: Path) -> Iterator[Callable[[str], WebuiSdModel]]:
    """Yields what makes tiny-KIND in a folder the current checkpoint and returns its model; the embedded one after.

    Models stay loaded meanwhile, so that many tests can have one in turn.
    """
    stored = dict(shared.opts.data)
    shared.opts.data |= {"sd_checkpoints_limit": 20, "sd_checkpoints_keep_in_cpu": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared.cmd_opts, "ckpt_dir", str(folder))
        sd_models.setup_model()

        def choose(kind):
            shared.opts.data["sd_model_checkpoint"] = f"tiny-{kind}" if kind != EMBEDDED else EMBEDDED
            return sd_models.reload_model_weights()

        yield choose
        choose(EMBEDDED)
        for model in model_data.loaded_sd_models[1:]:
            sd_models.send_model_to_trash(model)
        del model_data.loaded_sd_models[1:]
    sd_models.list_models()
    shared.opts.data.clear()
    shared.opts.data.update(stored)


@functools.cache
def tokenizers():
    """The tokenizers of CLIP-L and of OpenCLIP."""
    from transformers import CLIPTokenizer

    folder = tokenizer_dir(CLIP_H)
    return CLIPTokenizer.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder, pad_token="!")


def schedulers(prediction="epsilon"):
    """diffusers' schedulers of the samplers, on the noise that all families of Stable Diffusion but the third have."""
    torchvision_ops.declare_missing()
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": prediction}
    return {
        "Euler": EulerDiscreteScheduler(**noise, timestep_spacing="linspace"),
        "DPM++ 2M": DPMSolverMultistepScheduler(**noise, final_sigmas_type="zero", timestep_spacing="linspace"),
        "DDIM": DDIMScheduler(
            **noise, timestep_spacing="leading", steps_offset=1, clip_sample=False, set_alpha_to_one=False
        ),
    }


def weak_noise(width: int = 12) -> torch.Tensor:
    """Noise (1, 4, 8, width), weak enough for a random network, which takes none away, to end at usual numbers."""
    return torch.randn(1, 4, 8, width, generator=torch.Generator().manual_seed(3)) * 0.1


def start_of(name: str, noise: torch.Tensor) -> torch.Tensor:
    """What diffusers' pipelines want of the noise: most schedulers scale it themselves."""
    if name != "DPM++ 2M":
        return noise
    alpha = model_families.NoiseSchedule().alphas_cumprod()[-1]
    return noise * (1 - alpha) ** 0.5
