"""pure: solvers of Karras et al. 2022 (arXiv:2206.00364): Euler, Heun and midpoint (DPM2), with churn or ancestral."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from tqdm import trange

from modules.sampling.steps import (
    Callback,
    ExtraArgs,
    Model,
    NoiseSampler,
    default_noise_sampler,
    get_ancestral_step,
    notify,
    to_d,
    whole_batch,
)


@torch.no_grad()
def sample_euler(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by algorithm 2 without its second-order correction. Deterministic while s_churn is 0.

    x: noisy latent (B, C, h, w), std about sigmas[0]. Returns the clean latent, shape and dtype of x.
    """
    ones, arguments = whole_batch(x, extra_args)
    churn = Churn(sigmas, noise_sampler or default_noise_sampler(x), s_churn, s_tmin, s_tmax, s_noise)
    for i in trange(len(sigmas) - 1, disable=disable):
        x, sigma_hat = churn(x, i)
        denoised = model(x, sigma_hat * ones, **arguments)
        d = to_d(x, sigma_hat, denoised)
        notify(callback, x, i, sigmas[i], denoised, sigma_hat)
        x = x + d * (sigmas[i + 1] - sigma_hat)
    return x


@torch.no_grad()
def sample_heun(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by algorithm 2: Euler steps corrected by the slope at their end. Two calls a step, one for that to 0."""
    ones, arguments = whole_batch(x, extra_args)
    churn = Churn(sigmas, noise_sampler or default_noise_sampler(x), s_churn, s_tmin, s_tmax, s_noise)
    for i in trange(len(sigmas) - 1, disable=disable):
        x, sigma_hat = churn(x, i)
        denoised = model(x, sigma_hat * ones, **arguments)
        d = to_d(x, sigma_hat, denoised)
        notify(callback, x, i, sigmas[i], denoised, sigma_hat)
        dt = sigmas[i + 1] - sigma_hat
        if sigmas[i + 1] > 0:
            x_next = x + d * dt
            d_next = to_d(x_next, sigmas[i + 1], model(x_next, sigmas[i + 1] * ones, **arguments))
            d = (d + d_next) / 2
        x = x + d * dt
    return x


@torch.no_grad()
def sample_dpm_2(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by DPM-Solver-2 (Lu et al. 2022, arXiv:2206.00927): a step follows the slope at its geometric middle."""
    ones, arguments = whole_batch(x, extra_args)
    churn = Churn(sigmas, noise_sampler or default_noise_sampler(x), s_churn, s_tmin, s_tmax, s_noise)
    for i in trange(len(sigmas) - 1, disable=disable):
        x, sigma_hat = churn(x, i)
        denoised = model(x, sigma_hat * ones, **arguments)
        d = to_d(x, sigma_hat, denoised)
        notify(callback, x, i, sigmas[i], denoised, sigma_hat)
        if sigmas[i + 1] > 0:
            sigma_mid = geometric_middle(sigma_hat, sigmas[i + 1])
            x_mid = x + d * (sigma_mid - sigma_hat)
            d = to_d(x_mid, sigma_mid, model(x_mid, sigma_mid * ones, **arguments))
        x = x + d * (sigmas[i + 1] - sigma_hat)
    return x


@torch.no_grad()
def sample_euler_ancestral(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by Euler steps to a level below the next one, and noise up to it."""
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or default_noise_sampler(x)
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **arguments)
        sigma_down, sigma_up = get_ancestral_step(sigmas[i], sigmas[i + 1], eta)
        notify(callback, x, i, sigmas[i], denoised)
        d = to_d(x, sigmas[i], denoised)
        x = x + d * (sigma_down - sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * s_noise * sigma_up
    return x


@torch.no_grad()
def sample_dpm_2_ancestral(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by midpoint steps of DPM-Solver-2 to a level below the next one, and noise up to it."""
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or default_noise_sampler(x)
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **arguments)
        sigma_down, sigma_up = get_ancestral_step(sigmas[i], sigmas[i + 1], eta)
        notify(callback, x, i, sigmas[i], denoised)
        d = to_d(x, sigmas[i], denoised)
        if sigma_down == 0:
            x = x + d * (sigma_down - sigmas[i])
        else:
            sigma_mid = geometric_middle(sigmas[i], sigma_down)
            x_mid = x + d * (sigma_mid - sigmas[i])
            d_mid = to_d(x_mid, sigma_mid, model(x_mid, sigma_mid * ones, **arguments))
            x = x + d_mid * (sigma_down - sigmas[i])
            x = x + noise(sigmas[i], sigmas[i + 1]) * s_noise * sigma_up
    return x


class Churn:
    """Raises the noise level before a step: lines 4 to 6 of algorithm 2.

    A draw is taken at every step, used or not, so that the noise of one step does not depend on the range
    s_tmin..s_tmax of the steps before.
    """

    def __init__(
        self, sigmas: Tensor, noise: NoiseSampler, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float
    ):
        self.sigmas = sigmas
        self.noise = noise
        self.s_noise = s_noise
        self.gamma = min(s_churn / max(len(sigmas) - 1, 1), 2**0.5 - 1)
        self.churned = ((sigmas >= s_tmin) & (sigmas <= s_tmax)).tolist()

    def __call__(self, x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """Returns the latent and level with which step i starts."""
        sigma = self.sigmas[i]
        gamma = self.gamma if self.churned[i] else 0.0
        noise = self.noise(sigma, self.sigmas[i + 1]) * self.s_noise
        sigma_hat = sigma * (gamma + 1)
        if gamma > 0:
            x = x + noise * (sigma_hat**2 - sigma**2) ** 0.5
        return x, sigma_hat


def geometric_middle(sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Returns the geometric mean of two noise levels."""
    return sigma.log().lerp(sigma_next.log(), 0.5).exp()
