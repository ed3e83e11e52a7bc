"""Models whose samples are known: the toy of the golden trajectories, and a Gaussian with its exact trajectories."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

DATA = Path(__file__).parent.parent / "data"
VECTORS = json.loads((DATA / "sampler_vectors.json").read_text(encoding="utf8"))

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHAS_CUMPROD = (1 - BETAS).cumprod(0).float()
"""The table of SD1."""


class Toy:
    """The setup of the golden trajectories: smooth models of x, and noise that is a cosine of the number of the draw.

    calls: sigma or timestep of each evaluation. draws: number of noise requests.
    """

    start = torch.tensor([1, -0.5, 0.25, -1.5], dtype=torch.float64).view(1, 1, 2, 2)

    def __init__(self) -> None:
        self.calls: list[float] = []
        self.draws = 0
        self.last_noise_uncond: Tensor | None = None

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls.append(float(sigma[0]))
        s = sigma.view(-1, 1, 1, 1)
        return (0.25 * x + 0.3 * s**2) / (0.25 + s**2) + 0.05 * torch.sin(x)

    def __call__(self, x: Tensor, timestep: Tensor) -> Tensor:
        """eps; half of it is left as the unconditional prediction."""
        self.calls.append(float(timestep[0]))
        eps = x * (0.2 + 0.5 * timestep.view(-1, 1, 1, 1) / 1000) + 0.1 * torch.sin(x)
        self.last_noise_uncond = eps / 2
        return eps

    def noise(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        draw = torch.cos(self.draws + torch.arange(4, dtype=torch.float64)).view(1, 1, 2, 2)
        self.draws += 1
        return draw


class Gaussian:
    """Data of a mean and std; the denoiser and the solution of the probability flow ODE are known in closed form."""

    def __init__(self, mean: float = 0.4, std: float = 0.7) -> None:
        self.mean, self.std = mean, std

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        s2 = sigma.view(-1, 1, 1, 1) ** 2
        return (self.std**2 * x + s2 * self.mean) / (self.std**2 + s2)

    def solution(self, x: Tensor, sigma: float, sigma_end: float) -> Tensor:
        """Where the ODE takes x at one level by another."""
        ratio = (self.std**2 + sigma_end**2) / (self.std**2 + sigma**2)
        return self.mean + (x - self.mean) * ratio**0.5

    def eps(self, x: Tensor, timestep: Tensor) -> Tensor:
        """eps of the variance preserving process, with ᾱ interpolated between timesteps."""
        alpha = alpha_at(timestep).view(-1, 1, 1, 1).to(x)
        sigma = ((1 - alpha) / alpha) ** 0.5
        x0 = self.denoise(x / alpha**0.5, sigma)
        return (x - alpha**0.5 * x0) / (1 - alpha) ** 0.5


def alpha_at(timestep: Tensor) -> Tensor:
    """ᾱ, linear in its logarithm between timesteps."""
    table = ALPHAS_CUMPROD.double().log()
    low = timestep.floor().long().clamp(0, 999)
    high = (low + 1).clamp(max=999)
    return torch.lerp(table[low], table[high], timestep.double() - low).exp()


def error(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).abs().max())
