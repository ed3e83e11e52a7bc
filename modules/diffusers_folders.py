"""engine: a checkpoint that is a folder of diffusers (model_index.json): its files, and what it says of its training.

Networks are built from the shapes of their weights, as those of single files are, so only the weights are read, and of
the configurations what no weight tells.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from modules import weights

INDEX = "model_index.json"
DENOISERS = ("unet", "transformer")
MODULES = ("vae", "text_encoder", "text_encoder_2", "text_encoder_3")
"""Folders of a pipeline's networks."""

WEIGHTS_NAME = re.compile(
    r"(?:diffusion_pytorch_model|model|pytorch_model)"
    r"(?:\.(?P<before>[a-z]\w*))?(?:-\d+-of-\d+)?(?:\.(?P<after>[a-z]\w*))?\.(?P<ending>safetensors|bin)"
)
"""Name of a file of weights, whole or one of several; a variant such as fp16 stands before or after the numbers."""


def is_one(path: str) -> bool:
    """Says whether a path is a folder of diffusers with a denoiser in it."""
    return os.path.isfile(os.path.join(path, INDEX)) and bool(denoiser(path))


def component(folder: str, name: str) -> list[str]:
    """Returns the files with the weights of one network, none if there is no such network.

    Of several variants the plain one, else that of the first name: fp16 before non_ema. safetensors go before pickles.
    """
    path = os.path.join(folder, name)
    if not os.path.isdir(path):
        return []
    found: dict[tuple[bool, str], list[str]] = {}
    for file in sorted(os.listdir(path)):
        match = WEIGHTS_NAME.fullmatch(file)
        if match:
            variant = match["before"] or match["after"] or ""
            found.setdefault((match["ending"] == "bin", variant), []).append(os.path.join(path, file))
    return found[min(found)] if found else []


def denoiser(folder: str) -> list[str]:
    """Returns the files with the weights of the denoiser, none where they are missing."""
    return next(filter(None, (component(folder, name) for name in DENOISERS)), [])


def modules(folder: str) -> list[list[str]]:
    """Returns the files of each of the other networks that are there."""
    return [files for name in MODULES if (files := component(folder, name))]


def read(files: list[str]) -> weights.StateDict:
    """Reads the weights of one network, which may be in several files."""
    tensors: weights.StateDict = {}
    for file in files:
        tensors |= weights.read_state_dict(file)
    return tensors


def metadata(folder: str) -> dict[str, Any]:
    """Returns what the scheduler's configuration says of the training, by the names of safetensors' metadata."""
    try:
        with open(os.path.join(folder, "scheduler", "scheduler_config.json"), encoding="utf8") as file:
            config = json.load(file)
    except (OSError, ValueError):
        return {}
    found = {"modelspec.prediction_type": config.get("prediction_type")}
    if config.get("rescale_betas_zero_snr"):
        found["ss_zero_terminal_snr"] = "True"
    return {key: value for key, value in found.items() if value is not None}
