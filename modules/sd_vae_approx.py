"""engine: rough pictures of latents: a small convolutional network, and a linear map that needs no weights."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from torch import nn

from modules import devices, preview_files, safe, shared

FOLDER = "VAE-approx"

logger = logging.getLogger(__name__)

sd_vae_approx_models: dict[str, VAEApprox] = {}
"""Path of the weights -> the network."""


class VAEApprox(nn.Module):
    """Eight convolutions from latents to a picture of a quarter of the full width and height."""

    def __init__(self, latent_channels: int = 4):
        super().__init__()
        widths = (latent_channels, 8, 16, 32, 64, 32, 16, 8, 3)
        kernels = (7, 5, 3, 3, 3, 3, 3, 3)
        for i, kernel in enumerate(kernels):
            self.add_module(f"conv{i + 1}", nn.Conv2d(widths[i], widths[i + 1], kernel))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (B, C, h, w) -> (B, 3, 2h, 2w) in about -1..1. The padding is what the eight kernels eat."""
        x = F.interpolate(x, size=(x.shape[2] * 2, x.shape[3] * 2))
        x = F.pad(x, (11, 11, 11, 11))
        for conv in self.children():
            x = F.leaky_relu(conv(x), 0.1)
        return x


def model() -> VAEApprox | None:
    """The network for latents of the current checkpoint; None while its weights are not there."""
    latent_format = shared.sd_model.family.latent_format
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


def cheap_approximation(sample: torch.Tensor) -> torch.Tensor:
    """Picture (..., 3, h, w) in about -1..1 of latents (..., C, h, w) of the current checkpoint, a pixel per cell."""
    return shared.sd_model.family.latent_format.to_rgb(sample)
