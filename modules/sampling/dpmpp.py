"""pure: DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095) in λ = -ln σ: single-step and multistep, ODE and SDE."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import trange

from modules.sampling.noise import BrownianTreeNoiseSampler
from modules.sampling.steps import (
    Callback,
    ExtraArgs,
    Model,
    NoiseSampler,
    default_noise_sampler,
    get_ancestral_step,
    lambda_of,
    notify,
    sigma_of,
    to_d,
    whole_batch,
)


@torch.no_grad()
def sample_dpmpp_2s_ancestral(
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
    """Samples by DPM-Solver++(2S): algorithm 1 with r = 1/2, to a level below the next one, and noise up to it.

    x: noisy latent (B, C, h, w), std about sigmas[0]. Returns the clean latent, shape and dtype of x.
    """
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or default_noise_sampler(x)
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **arguments)
        sigma_down, sigma_up = get_ancestral_step(sigmas[i], sigmas[i + 1], eta)
        notify(callback, x, i, sigmas[i], denoised)
        if sigma_down == 0:
            d = to_d(x, sigmas[i], denoised)
            x = x + d * (sigma_down - sigmas[i])
        else:
            t, t_next = lambda_of(sigmas[i]), lambda_of(sigma_down)
            h = t_next - t
            s = t + h / 2
            u = (sigma_of(s) / sigma_of(t)) * x - (-h / 2).expm1() * denoised
            denoised_mid = model(u, sigma_of(s) * ones, **arguments)
            x = (sigma_of(t_next) / sigma_of(t)) * x - (-h).expm1() * denoised_mid
        if sigmas[i + 1] > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * s_noise * sigma_up
    return x


@torch.no_grad()
def sample_dpmpp_sde(
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
    """Samples by DPM-Solver++(2S) as an SDE with r = 1/2: noise is added at the middle of a step and at its end."""
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or brownian_noise(x, sigmas)

    def step(x: Tensor, t: Tensor, t_next: Tensor, denoised: Tensor) -> Tensor:
        """Returns x one step further, towards the denoised latent, with fresh noise."""
        sigma, sigma_next = sigma_of(t), sigma_of(t_next)
        sigma_down, sigma_up = get_ancestral_step(sigma, sigma_next, eta)
        t_down = lambda_of(sigma_down)
        x = (sigma_of(t_down) / sigma) * x - (t - t_down).expm1() * denoised
        return x + noise(sigma, sigma_next) * s_noise * sigma_up

    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **arguments)
        notify(callback, x, i, sigmas[i], denoised)
        if sigmas[i + 1] == 0:
            d = to_d(x, sigmas[i], denoised)
            x = x + d * (sigmas[i + 1] - sigmas[i])
        else:
            t, t_next = lambda_of(sigmas[i]), lambda_of(sigmas[i + 1])
            s = t + (t_next - t) * 0.5
            u = step(x, t, s, denoised)
            denoised_mid = model(u, sigma_of(s) * ones, **arguments)
            x = step(x, t, t_next, denoised_mid)
    return x


@torch.no_grad()
def sample_dpmpp_2m(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
) -> Tensor:
    """Samples by DPM-Solver++(2M), algorithm 2: extrapolates the denoised latent from the last two steps."""
    ones, arguments = whole_batch(x, extra_args)
    previous, h_last = None, None
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **arguments)
        notify(callback, x, i, sigmas[i], denoised)
        t, t_next = lambda_of(sigmas[i]), lambda_of(sigmas[i + 1])
        h = t_next - t
        target = denoised
        if previous is not None and sigmas[i + 1] > 0:
            r = h_last / h
            target = (1 + 1 / (2 * r)) * denoised - (1 / (2 * r)) * previous
        x = (sigma_of(t_next) / sigma_of(t)) * x - (-h).expm1() * target
        previous, h_last = denoised, h
    return x


def _midpoint_weight(q: Tensor) -> Tensor:
    return 0.5 * (-q).expm1().neg()


def _heun_weight(q: Tensor) -> Tensor:
    return (-q).expm1().neg() / (-q) + 1


SDE_CORRECTIONS: dict[str, Callable[[Tensor], Tensor]] = {"midpoint": _midpoint_weight, "heun": _heun_weight}


@torch.no_grad()
def sample_dpmpp_2m_sde(
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
    solver_type: str = "midpoint",
) -> Tensor:
    """Samples by DPM-Solver++(2M) as an SDE. solver_type: how the last prediction corrects, "midpoint" or "heun"."""
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or brownian_noise(x, sigmas)
    correction = SDE_CORRECTIONS[solver_type]
    previous, h_last = None, None
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **arguments)
        notify(callback, x, i, sigmas[i], denoised)
        if sigmas[i + 1] == 0:
            x = denoised
            continue
        h = lambda_of(sigmas[i + 1]) - lambda_of(sigmas[i])
        eta_h = eta * h
        q = h + eta_h
        x = sigmas[i + 1] / sigmas[i] * (-eta_h).exp() * x + (-q).expm1().neg() * denoised
        if previous is not None:
            r = h_last / h
            x = x + correction(q) * (1 / r) * (denoised - previous)
        if eta:
            x = x + noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1] * (-2 * eta_h).expm1().neg().sqrt() * s_noise
        previous, h_last = denoised, h
    return x


@torch.no_grad()
def sample_dpmpp_3m_sde(
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
    """Samples by DPM-Solver++(3M) as an SDE: uses the predictions of the last two steps as well."""
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or brownian_noise(x, sigmas)
    history: list[tuple[Tensor, Tensor]] = []  # (denoised, h) of the last two steps, newest first
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **arguments)
        notify(callback, x, i, sigmas[i], denoised)
        if sigmas[i + 1] == 0:
            x = denoised
            continue
        h = lambda_of(sigmas[i + 1]) - lambda_of(sigmas[i])
        q = h * (eta + 1)
        x = (-q).exp() * x + (-q).expm1().neg() * denoised
        for correction in third_order_corrections(denoised, h, q, history):
            x = x + correction
        if eta:
            x = x + noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1] * (-2 * h * eta).expm1().neg().sqrt() * s_noise
        history = [(denoised, h), *history[:1]]
    return x


def third_order_corrections(
    denoised: Tensor, h: Tensor, q: Tensor, history: list[tuple[Tensor, Tensor]]
) -> list[Tensor]:
    """Returns what both derivatives of the prediction, taken from up to two earlier steps, add to a step."""
    if not history:
        return []
    phi_2 = q.neg().expm1() / q + 1
    denoised_1, h_1 = history[0]
    r0 = h_1 / h
    p = (denoised - denoised_1) / r0
    if len(history) == 1:
        return [phi_2 * p]
    denoised_2, h_2 = history[1]
    r1 = h_2 / h
    s = (denoised_1 - denoised_2) / r1
    first = p + (p - s) * r0 / (r0 + r1)
    second = (p - s) / (r0 + r1)
    phi_3 = phi_2 / q - 0.5
    return [phi_2 * first, -phi_3 * second]


def brownian_noise(x: Tensor, sigmas: Tensor) -> NoiseSampler:
    """Returns one Brownian motion for a whole batch, seeded by torch's global generator, for callers without noise."""
    entropy = int(torch.randint(0, 2**63 - 1, []))
    return BrownianTreeNoiseSampler(x, sigmas[sigmas > 0].min(), sigmas.max(), entropy)
