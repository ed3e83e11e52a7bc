"""pure: what a model family is, as data: how its files look, how its latents are scaled, which text encoders it reads.

A row is everything the loader needs to know beside the weights themselves; sizes come from the shapes of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

Shapes = Mapping[str, tuple[int, ...]]
"""Key of a weight in its file -> its shape."""

ShapePattern = tuple[int | None, ...]
"""A shape in which None stands for any size."""


@dataclass(frozen=True)
class LatentFormat:
    """The latents of a VAE as its U-Nets see them.

    Model space is `(z - shift) * scale` of the VAE's own z. downscale: pixels per latent cell and side. rgb_rows: per
    channel the red, green and blue it stands for, rgb_bias: the colour of zeros; together -1..1. approx_url: weights of
    the small preview network; taesd: first part of the file names of the tiny autoencoder; None where nobody made one.
    """

    channels: int
    scale: float
    shift: float
    downscale: int
    rgb_rows: tuple[tuple[float, float, float], ...]
    rgb_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    approx_url: str | None = None
    taesd: str | None = None

    def to_vae(self, latent: torch.Tensor) -> torch.Tensor:
        """Model space -> the VAE's space."""
        return latent / self.scale + self.shift

    def from_vae(self, z: torch.Tensor) -> torch.Tensor:
        """The VAE's space -> model space."""
        return (z - self.shift) * self.scale

    def to_rgb(self, latent: torch.Tensor) -> torch.Tensor:
        """Rough picture (..., 3, h, w) in about -1..1 of latents (..., C, h, w): one linear map, no network."""
        rows = torch.tensor(self.rgb_rows, dtype=latent.dtype, device=latent.device)
        bias = torch.tensor(self.rgb_bias, dtype=latent.dtype, device=latent.device)
        return torch.einsum("...chw,cr->...rhw", latent, rows) + bias[:, None, None]


@dataclass(frozen=True)
class TextEncoder:
    """One text encoder of a family: where its weights are, and what their shapes cannot say.

    prefix: first part of its keys in the file. head_width: width of one attention head. activation: as transformers
    names it.
    """

    prefix: str
    head_width: int = 64
    activation: str = "quick_gelu"


@dataclass(frozen=True)
class NoiseSchedule:
    """Betas of training: linear in their square roots from linear_start to linear_end."""

    linear_start: float = 0.00085
    linear_end: float = 0.0120
    timesteps: int = 1000

    def alphas_cumprod(self) -> torch.Tensor:
        """(timesteps,) float32, computed in double precision: share of the picture's variance left at each timestep."""
        start, end = self.linear_start**0.5, self.linear_end**0.5
        betas = torch.linspace(start, end, self.timesteps, dtype=torch.float64) ** 2
        return torch.cumprod(1.0 - betas, dim=0).float()


@dataclass(frozen=True)
class Family:
    """One row: a kind of checkpoint in its original single-file layout.

    keys: shapes a file must have to be of this family. architecture: "sd1", "sd2", "sdxl" or "sd3". unet_heads:
    attention heads of every U-Net layer. conditioning_key: how a picture joins the U-Net's input ("crossattn": not at
    all; "hybrid": as more channels). cond_stage_key: "edit" for models that follow instructions, else "txt".
    parameterization: what the U-Net predicts, "eps" or "v". config: the architecture file of this kind in v1.10.1.
    """

    name: str
    title: str
    keys: Mapping[str, ShapePattern]
    architecture: str
    latent_format: LatentFormat
    text_encoders: tuple[TextEncoder, ...]
    unet_heads: int
    conditioning_key: str
    config: str
    cond_stage_key: str = "txt"
    parameterization: str = "eps"
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)
    unet_prefix: str = "model.diffusion_model."
    vae_prefix: str = "first_stage_model."

    def matches(self, shapes: Shapes) -> bool:
        """Whether a file with these shapes is of this family."""
        return all(key in shapes and fits(shapes[key], pattern) for key, pattern in self.keys.items())


def fits(shape: tuple[int, ...], pattern: ShapePattern) -> bool:
    """Whether a shape has the dimensions of a pattern, and the sizes it names."""
    return len(shape) == len(pattern) and all(
        wanted in (None, size) for size, wanted in zip(shape, pattern, strict=True)
    )
