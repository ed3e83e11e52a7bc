"""pure: strengths that a file of peft has in its header, or beside it, instead of an alpha for each layer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch

HEADER = "lora_adapter_metadata"
"""Under this name diffusers keeps peft's settings of each network, their names after that of the network: "unet.r"."""

FOLDER_PREFIX = "base_model.model."
"""How peft begins the names of layers in the folders it writes; its settings lie beside, in `adapter_config.json`."""

Config = Mapping[str, Any]


class UnreadableStrength(ValueError):
    """Settings of peft that say no strength."""


def config_of(layer: str, header: Config, folder: Config) -> tuple[Config, str]:
    """Returns peft's settings for a layer, {} without any, and what peft calls the layer.

    header: the settings of all networks. folder: those of a folder.
    """
    if layer.startswith(FOLDER_PREFIX):
        return folder, layer.removeprefix(FOLDER_PREFIX)
    network, _, path = layer.partition(".")
    prefix = f"{network}."
    return {key.removeprefix(prefix): value for key, value in header.items() if key.startswith(prefix)}, path


def strength(config: Config, path: str, rank: int) -> dict[str, torch.Tensor]:
    """Returns what peft's settings say of a layer's strength, as tensors of it: its alpha, or its scale.

    Raises UnreadableStrength.
    """
    try:
        alpha = matching(config.get("alpha_pattern") or {}, path, config.get("lora_alpha"))
        if alpha is None:
            return {}
        if config.get("use_rslora"):
            return {"scale": torch.tensor(alpha / math.sqrt(rank))}
        return {"alpha": torch.tensor(float(alpha))}
    except (TypeError, ValueError, AttributeError, ZeroDivisionError, re.error) as e:
        raise UnreadableStrength(f"peft's settings of its strength cannot be read: {e}") from e


def matching(patterns: Mapping[str, Any], path: str, default: Any) -> Any:
    """Returns the value of the first pattern that fits the end of a path, as peft decides it."""
    return next((value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", path)), default)
