"""pure: wrappers that turn what a model predicts into the denoised latent, one class per kind of prediction.

A wrapper is called as `wrapper(x, sigma, **kwargs)` with latents (B, C, h, w) and noise levels (B,), and calls
`model.apply_model(x_scaled, t, **kwargs)`. It also holds the table of noise levels of the model and converts between
levels and timesteps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from modules.sampling.steps import append_dims, append_zero


def sigma_table(alphas_cumprod: Tensor) -> Tensor:
    """Returns σ = √((1 - ᾱ)/ᾱ), rising, in the type of the table (half precision stays half)."""
    return ((1 - alphas_cumprod) / alphas_cumprod) ** 0.5


def flow_sigma_table(shift: float, size: int = 1000) -> Tensor:
    """Returns σ of rectified flow, s·t / (1 + (s-1)·t) (Esser et al. 2024, arXiv:2403.03206, eq. 23)."""
    t = torch.arange(1, size + 1, dtype=torch.float32) / size
    return shift * t / (1 + (shift - 1) * t)


def edm_sigma_table(sigma_min: float, sigma_max: float, size: int = 1000) -> Tensor:
    """Returns σ at even steps of ln σ, rising."""
    return torch.linspace(math.log(sigma_min), math.log(sigma_max), size).exp()


class DiscreteSchedule(nn.Module):
    """A rising table of noise levels; its indices are the timesteps. Between entries, ln σ is linear in the timestep.

    quantize: timesteps are rounded to the nearest entry.
    """

    def __init__(self, sigmas: Tensor, quantize: bool = False):
        super().__init__()
        self.register_buffer("sigmas", sigmas)
        self.register_buffer("log_sigmas", sigmas.log())
        self.quantize = quantize

    @property
    def sigma_min(self) -> Tensor:
        """The lowest level of the table."""
        return self.sigmas[0]

    @property
    def sigma_max(self) -> Tensor:
        """The highest level of the table."""
        return self.sigmas[-1]

    def get_sigmas(self, n: int | None = None) -> Tensor:
        """Returns (n + 1,): levels of n even timesteps, falling, then 0; without n those of the whole table."""
        if n is None:
            return append_zero(self.sigmas.flip(0))
        return append_zero(self.t_to_sigma(torch.linspace(len(self.sigmas) - 1, 0, n, device=self.sigmas.device)))

    def sigma_to_t(self, sigma: Tensor, quantize: bool | None = None) -> Tensor:
        """Returns timesteps of noise levels, same shape, clamped to the table."""
        log_sigma = sigma.log()
        distances = log_sigma - self.log_sigmas[:, None]  # (table, B)
        if self.quantize if quantize is None else quantize:
            return distances.abs().argmin(dim=0).view(sigma.shape)
        low = ((distances >= 0).sum(dim=0) - 1).clamp(0, len(self.log_sigmas) - 2)
        high = low + 1
        log_low, log_high = self.log_sigmas[low], self.log_sigmas[high]
        w = ((log_low - log_sigma) / (log_low - log_high)).clamp(0, 1)
        return ((1 - w) * low + w * high).view(sigma.shape)

    def t_to_sigma(self, t: Tensor) -> Tensor:
        """Returns noise levels of timesteps, same shape."""
        t = t.float()
        low, high, w = t.floor().long(), t.ceil().long(), t.frac()
        return ((1 - w) * self.log_sigmas[low] + w * self.log_sigmas[high]).exp()


class Denoiser(DiscreteSchedule):
    """Base of the wrappers: the model and how noise is laid over a clean latent."""

    def __init__(self, model: Any, sigmas: Tensor, quantize: bool = False):
        super().__init__(sigmas, quantize)
        self.inner_model = model

    def add_noise(self, latent: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Returns the noisy latent at one level (0-d)."""
        return latent + noise * sigma


class EpsDenoiser(Denoiser):
    """For models that predict the noise: D = x - σ·eps(x/√(σ²+1), t)."""

    def __init__(self, model: Any, quantize: bool = False):
        super().__init__(model, sigma_table(model.alphas_cumprod), quantize)

    def forward(self, x: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        """Returns the denoised latent (B, C, h, w) for latents x at noise levels sigma (B,)."""
        c_out, c_in = (append_dims(scale, x.ndim) for scale in self.get_scalings(sigma))
        return x + self.get_eps(x * c_in, self.sigma_to_t(sigma), **kwargs) * c_out

    def get_scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (c_out, c_in): the scales of what the model predicts and of what it is given, each like sigma."""
        return -sigma, 1 / (sigma**2 + 1) ** 0.5

    @property
    def get_eps(self) -> Callable[..., Tensor]:
        """The call of the model."""
        return self.inner_model.apply_model


class VDenoiser(Denoiser):
    """For models that predict v (Salimans & Ho 2022, arXiv:2202.00512): D = x/(σ²+1) - v(x/√(σ²+1), t)·σ/√(σ²+1)."""

    def __init__(self, model: Any, quantize: bool = False):
        super().__init__(model, sigma_table(model.alphas_cumprod), quantize)

    def forward(self, x: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        """Returns the denoised latent (B, C, h, w) for latents x at noise levels sigma (B,)."""
        c_skip, c_out, c_in = (append_dims(scale, x.ndim) for scale in self.get_scalings(sigma))
        return self.get_v(x * c_in, self.sigma_to_t(sigma), **kwargs) * c_out + x * c_skip

    def get_scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (c_skip, c_out, c_in): the scales of x itself, of what the model predicts and of what it is given."""
        return 1 / (sigma**2 + 1), -sigma / (sigma**2 + 1) ** 0.5, 1 / (sigma**2 + 1) ** 0.5

    @property
    def get_v(self) -> Callable[..., Tensor]:
        """The call of the model."""
        return self.inner_model.apply_model


class FlowDenoiser(Denoiser):
    """For rectified flow models: D = x - σ·out(x, 1000·σ), with x = (1-σ)·latent + σ·noise."""

    def __init__(self, model: Any, quantize: bool = False):
        super().__init__(model, flow_sigma_table(model.schedule.shift), quantize)

    def forward(self, x: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        """Returns the denoised latent (B, C, h, w) for latents x at noise levels sigma (B,)."""
        return x - append_dims(sigma, x.ndim) * self.inner_model.apply_model(x, sigma * 1000, **kwargs)

    def add_noise(self, latent: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Returns the latent at noise level sigma: a mixture of itself and the noise."""
        return latent * (1 - sigma) + noise * sigma


class EdmDenoiser(Denoiser):
    """For models with the preconditioning of Karras et al. 2022 (arXiv:2206.00364, table 1), whose levels are a range.

    D = c_skip·x + c_out·out(c_in·x, ln σ / 4). The table only says where schedules find even timesteps.
    """

    sign = 1

    def __init__(self, model: Any, quantize: bool = False):
        schedule = model.schedule
        super().__init__(model, edm_sigma_table(schedule.sigma_min, schedule.sigma_max, schedule.timesteps), quantize)
        self.sigma_data = schedule.sigma_data

    def forward(self, x: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        """Returns the denoised latent (B, C, h, w) for latents x at noise levels sigma (B,)."""
        c_skip, c_out, c_in = (append_dims(scale, x.ndim) for scale in self.get_scalings(sigma))
        return self.inner_model.apply_model(x * c_in, sigma.log() / 4, **kwargs) * c_out + x * c_skip

    def get_scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (c_skip, c_out, c_in): the scales of x itself, of what the model predicts and of what it is given."""
        variance = sigma**2 + self.sigma_data**2
        return self.sigma_data**2 / variance, self.sign * sigma * self.sigma_data / variance**0.5, 1 / variance**0.5


class EdmVDenoiser(EdmDenoiser):
    """The same for models that predict v, which is what EDM's networks predict with its sign turned."""

    sign = -1


class LCMDenoiser(Denoiser):
    """For latent consistency models (Luo et al. 2023, arXiv:2310.04378), which predict noise at t = 19, 39, ... 999.

    The table has those 50 levels only; timesteps stay those of the model. The boundary condition mixes x back in: D =
    c_out·x0 + c_skip·x.
    """

    skip_steps = 20
    sigma_data = 0.5
    timestep_scaling = 10.0

    def __init__(self, model: Any):
        table = model.alphas_cumprod[self.skip_steps - 1 :: self.skip_steps]
        super().__init__(model, sigma_table(table.float()))

    def get_sigmas(self, n: int | None = None) -> Tensor:
        """Returns all noise levels, or n of them equally spaced in time, falling, with 0 at the end."""
        if n is None:
            return super().get_sigmas()
        start, end = float(self.sigma_to_t(self.sigma_max)), float(self.sigma_to_t(self.sigma_min))
        return append_zero(self.t_to_sigma(torch.linspace(start, end, n, device=self.sigmas.device)))

    def sigma_to_t(self, sigma: Tensor, quantize: bool | None = None) -> Tensor:
        """Returns the trained timesteps of noise levels."""
        return super().sigma_to_t(sigma, quantize=True) * self.skip_steps + (self.skip_steps - 1)

    def t_to_sigma(self, t: Tensor) -> Tensor:
        """Returns the noise levels of trained timesteps."""
        index = (t - (self.skip_steps - 1)) / self.skip_steps
        return super().t_to_sigma(index.clamp(0, len(self.sigmas) - 1))

    def forward(self, x: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        """Returns the denoised latent (B, C, h, w) for latents x at noise levels sigma (B,)."""
        t = self.sigma_to_t(sigma)
        c_in = 1 / (sigma**2 + 1) ** 0.5
        eps = self.inner_model.apply_model(x * append_dims(c_in, x.ndim), t, **kwargs)
        x0 = x + eps * append_dims(-sigma, x.ndim)
        s = append_dims(t, x.ndim) * self.timestep_scaling
        c_skip = self.sigma_data**2 / (s**2 + self.sigma_data**2)
        c_out = s / (s**2 + self.sigma_data**2) ** 0.5
        return c_out * x0 + c_skip * x


class TimestepDenoiser(nn.Module):
    """eps of a model that predicts the noise, for solvers over timesteps: wrapper(x, timesteps (B,), **kwargs)."""

    def __init__(self, model: Any):
        super().__init__()
        self.inner_model = model

    def forward(self, input: Tensor, timesteps: Tensor, **kwargs: Any) -> Tensor:
        """Returns the model's eps."""
        return self.inner_model.apply_model(input, timesteps, **kwargs)


class TimestepVDenoiser(TimestepDenoiser):
    """eps of a model that predicts v: √ᾱ·v + √(1-ᾱ)·x."""

    def predict_eps_from_z_and_v(self, x_t: Tensor, t: Tensor, v: Tensor) -> Tensor:
        """Returns the eps that a v-prediction at timesteps t stands for."""
        alpha = self.inner_model.alphas_cumprod[t.long()]
        return append_dims(alpha.sqrt(), v.ndim) * v + append_dims((1 - alpha).sqrt(), x_t.ndim) * x_t

    def forward(self, input: Tensor, timesteps: Tensor, **kwargs: Any) -> Tensor:
        """Returns the eps that the model's v stands for."""
        v = self.inner_model.apply_model(input, timesteps, **kwargs)
        return self.predict_eps_from_z_and_v(input, timesteps, v)


SIGMA_DENOISERS: dict[str, type[Denoiser]] = {
    "eps": EpsDenoiser,
    "v": VDenoiser,
    "flow": FlowDenoiser,
    "edm": EdmDenoiser,
    "edm_v": EdmVDenoiser,
}
TIMESTEP_DENOISERS: dict[str, type[TimestepDenoiser]] = {"eps": TimestepDenoiser, "v": TimestepVDenoiser}
"""By the `parameterization` of a model."""
