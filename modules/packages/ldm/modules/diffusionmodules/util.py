"""engine: `ldm.modules.diffusionmodules.util`: small parts of networks, and tables of noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import nn


def conv_nd(dims: int, *args: Any, **kwargs: Any) -> nn.Module:
    """Makes a convolution over 1, 2 or 3 dimensions."""
    return getattr(nn, f"Conv{dims}d")(*args, **kwargs)


def avg_pool_nd(dims: int, *args: Any, **kwargs: Any) -> nn.Module:
    """Makes an average pooling over 1, 2 or 3 dimensions."""
    return getattr(nn, f"AvgPool{dims}d")(*args, **kwargs)


def linear(*args: Any, **kwargs: Any) -> nn.Module:
    """Makes a linear layer."""
    return nn.Linear(*args, **kwargs)


def normalization(channels: int) -> nn.Module:
    """Makes the normalisation of a residual block: in 32 groups."""
    return nn.GroupNorm(32, channels)


def zero_module(module: nn.Module) -> nn.Module:
    """Fills a module's parameters with zeros and returns it."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter.detach())
    return module


def timestep_embedding(
    timesteps: torch.Tensor, dim: int, max_period: int = 10000, repeat_only: bool = False
) -> torch.Tensor:
    """Returns (B, dim), float32: cosines and sines of timesteps (B,), or with repeat_only the timesteps themselves."""
    if repeat_only:
        return timesteps[:, None].expand(-1, dim)
    return get_timestep_embedding(timesteps, dim, flip_sin_to_cos=True, downscale_freq_shift=0, max_period=max_period)


def make_beta_schedule(
    schedule: str, n_timestep: int, linear_start: float = 1e-4, linear_end: float = 2e-2, cosine_s: float = 8e-3
) -> np.ndarray:
    """Returns (n_timestep,), float64: the variance that each step adds. schedule: "linear", "cosine" or "sqrt_linear".

    "linear" is linear in the root of the variance, as Stable Diffusion is trained. "cosine": Nichol and Dhariwal 2021
    (arXiv:2102.09672).
    """
    if schedule == "linear":
        return np.linspace(linear_start**0.5, linear_end**0.5, n_timestep, dtype=np.float64) ** 2
    if schedule == "sqrt_linear":
        return np.linspace(linear_start, linear_end, n_timestep, dtype=np.float64)
    if schedule == "cosine":
        share = np.arange(n_timestep + 1, dtype=np.float64) / n_timestep + cosine_s
        left = np.cos(share / (1 + cosine_s) * np.pi / 2) ** 2
        return np.clip(1 - left[1:] / left[:-1], 0, 0.999)
    raise ValueError(f"schedule is {schedule!r}; it can be 'linear', 'sqrt_linear' or 'cosine'")


def extract_into_tensor(a: torch.Tensor, t: torch.Tensor, x_shape: torch.Size) -> torch.Tensor:
    """Returns the values of a table a (T,) at timesteps t (B,), in a shape that multiplies a batch of x_shape."""
    return a.gather(-1, t).reshape(t.shape[0], *(1,) * (len(x_shape) - 1))


def make_ddim_sampling_parameters(
    alphacums: np.ndarray, ddim_timesteps: np.ndarray, eta: float, verbose: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns, for timesteps of DDIM (Song et al. 2020, arXiv:2010.02502), sigma, ᾱ, and ᾱ of the step before."""
    alphas = np.asarray(alphacums)[ddim_timesteps]
    before = np.asarray([float(alphacums[0]), *np.asarray(alphacums)[ddim_timesteps[:-1]].tolist()])
    sigmas = eta * np.sqrt((1 - before) / (1 - alphas) * (1 - alphas / before))
    return sigmas, alphas, before


def noise_like(shape: torch.Size, device: torch.device, repeat: bool = False) -> torch.Tensor:
    """Returns noise of a shape; with repeat the same for the whole batch."""
    if repeat:
        return torch.randn((1, *shape[1:]), device=device).repeat(shape[0], *(1,) * (len(shape) - 1))
    return torch.randn(tuple(shape), device=device)
