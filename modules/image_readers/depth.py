"""engine: maps of distances for depth models, by transformers' DPT (Ranftl et al. 2021, arXiv:2103.13413).

Its weights are a folder of their own: checkpoints hold them in the layout of another program.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from modules import devices, paths, torchvision_ops
from modules.errors import NotFound

if TYPE_CHECKING:
    from transformers import DPTForDepthEstimation

NAME = "Intel/dpt-hybrid-midas"


def folder() -> str:
    """Returns where the network's folder lies: config.json, and model.safetensors or pytorch_model.bin."""
    return os.path.join(paths.models_path, "midas", os.path.basename(NAME))


@functools.lru_cache(maxsize=1)
def load(path: str) -> DPTForDepthEstimation:
    """Returns the network of a folder. Raises NotFound, which names it, if it holds none."""
    torchvision_ops.declare_missing()
    from transformers import DPTForDepthEstimation

    try:
        network = DPTForDepthEstimation.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as e:
        raise NotFound(
            f"depth models need the network {NAME}: put its files into {path} ({str(e).splitlines()[0]})",
            "sd_model_checkpoint",
        ) from e
    return network.eval().requires_grad_(False).to(devices.device)


@torch.no_grad()
def depth_map(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Returns (1, 1, h, w) in -1..1, the near high, of the first of pixels (B, 3, H, W) in -1..1. size: (h, w).

    Raises NotFound while the network is not there.
    """
    network = load(folder())
    side = network.config.image_size
    square = F.interpolate(pixels[:1].float(), (side, side), mode="bicubic").to(network.device)
    depth = network(square).predicted_depth[:, None]
    depth = F.interpolate(depth, size, mode="bicubic")
    low, high = torch.aminmax(depth)
    return (2 * (depth - low) / (high - low).clamp(min=torch.finfo(depth.dtype).tiny) - 1).to(pixels)
