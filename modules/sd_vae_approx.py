"""engine: rough images of latents: a small convolutional network, and a linear map that needs no weights."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from modules import devices, preview_files, safe, shared

if TYPE_CHECKING:
    from modules.sd_models_types import WebuiSdModel

FOLDER = "VAE-approx"

logger = logging.getLogger(__name__)

sd_vae_approx_models: dict[str, VAEApprox] = {}
"""Path of the weights -> the network."""


class VAEApprox(nn.Module):
    """Eight convolutions from latents to pixels, a quarter of the full width and height."""

    def __init__(self, latent_channels: int = 4):
        super().__init__()
        widths = (latent_channels, 8, 16, 32, 64, 32, 16, 8, 3)
        kernels = (7, 5, 3, 3, 3, 3, 3, 3)
        for i, kernel in enumerate(kernels):
            self.add_module(f"conv{i + 1}", nn.Conv2d(widths[i], widths[i + 1], kernel))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns pixels (B, 3, 2h, 2w) in about -1..1 of latents (B, C, h, w). The kernels eat the padding."""
        x = F.interpolate(x, size=(x.shape[2] * 2, x.shape[3] * 2))
        x = F.pad(x, (11, 11, 11, 11))
        for conv in self.children():
            x = F.leaky_relu(conv(x), 0.1)
        return x


def model(sd_model: WebuiSdModel | None = None) -> VAEApprox | None:
    """Returns the network for latents of a model, by default the current one; None while its weights are not there."""
    latent_format = (sd_model or shared.sd_model).family.latent_format
    if latent_format.approx_url is None:
        return None
    path = preview_files.find_or_fetch(FOLDER, latent_format.approx_url)
    if path is None:
        return None
    if path not in sd_vae_approx_models:
        network = VAEApprox(latent_format.channels)
        network.load_state_dict(safe.load(path, map_location="cpu"))
        sd_vae_approx_models[path] = network.eval().to(devices.device, devices.dtype)
    return sd_vae_approx_models[path]


def cheap_approximation(sample: torch.Tensor, sd_model: WebuiSdModel | None = None) -> torch.Tensor:
    """Returns pixels (..., 3, h, w) in about -1..1 of latents (..., C, h, w), one per cell.

    sd_model: whose latents they are, by default the current one.
    """
    return (sd_model or shared.sd_model).family.latent_format.to_rgb(sample)
