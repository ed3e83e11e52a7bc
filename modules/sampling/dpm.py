"""pure: DPM-Solver (Lu et al. 2022, arXiv:2206.00927) in t = -ln σ, with a fixed budget of calls or adaptive steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

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
    whole_batch,
)

Eps = Callable[[Tensor, Tensor], Tensor]


def first_order(eps: Eps, x: Tensor, e: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    """Takes a step of DPM-Solver-1 from t to t_next. Here and below e is eps(x, t)."""
    h = t_next - t
    return x - sigma_of(t_next) * h.expm1() * e


def inner_eps(eps: Eps, x: Tensor, e: Tensor, t: Tensor, t_next: Tensor, r: float) -> Tensor:
    """Returns eps at the fraction r of the way to t_next, where a first-order step leads."""
    h = t_next - t
    s = t + r * h
    return eps(x - sigma_of(s) * (r * h).expm1() * e, s)


def second_order(
    eps: Eps, x: Tensor, e: Tensor, t: Tensor, t_next: Tensor, r1: float = 1 / 2, e_1: Tensor | None = None
) -> Tensor:
    """Takes a step of DPM-Solver-2. e_1: eps at the fraction r1 of the way, where it is known already."""
    h = t_next - t
    if e_1 is None:
        e_1 = inner_eps(eps, x, e, t, t_next, r1)
    return x - sigma_of(t_next) * h.expm1() * e - sigma_of(t_next) / (2 * r1) * h.expm1() * (e_1 - e)


def third_order(
    eps: Eps, x: Tensor, e: Tensor, t: Tensor, t_next: Tensor, r1: float = 1 / 3, e_1: Tensor | None = None
) -> Tensor:
    """Takes a step of DPM-Solver-3 with r2 = 2/3. e_1 as in second_order."""
    h = t_next - t
    if e_1 is None:
        e_1 = inner_eps(eps, x, e, t, t_next, r1)
    r2 = 2 / 3
    s2 = t + r2 * h
    u2 = (
        x
        - sigma_of(s2) * (r2 * h).expm1() * e
        - sigma_of(s2) * (r2 / r1) * ((r2 * h).expm1() / (r2 * h) - 1) * (e_1 - e)
    )
    e_2 = eps(u2, s2)
    return x - sigma_of(t_next) * h.expm1() * e - sigma_of(t_next) / r2 * (h.expm1() / h - 1) * (e_2 - e)


STEPS = {1: first_order, 2: second_order, 3: third_order}


def ancestral_target(t: Tensor, t_next: Tensor, t_end: Tensor, eta: float) -> tuple[Tensor, Tensor | float]:
    """Returns where a step from t solves to, and the std of the noise that leads from there to t_next."""
    if not eta:
        return t_next, 0.0
    sigma_down, _ = get_ancestral_step(sigma_of(t), sigma_of(t_next), eta)
    target = torch.minimum(t_end, lambda_of(sigma_down))
    return target, (sigma_of(t_next) ** 2 - sigma_of(target) ** 2) ** 0.5


@torch.no_grad()
def sample_dpm_fast(
    model: Model,
    x: Tensor,
    sigma_min: Tensor | float,
    sigma_max: Tensor | float,
    n: int,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    eta: float = 0.0,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by DPM-Solver-fast: n calls of the model in even steps of t, of order 3 except the last ones.

    x: noisy latent (B, C, h, w), std about sigma_max. Returns the latent at sigma_min, shape and dtype of x.
    """
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or default_noise_sampler(x)
    t_start, t_end = lambda_of(torch.as_tensor(sigma_max)), lambda_of(torch.as_tensor(sigma_min))
    intervals = n // 3 + 1
    orders = [3] * (intervals - 2) + [2, 1] if n % 3 == 0 else [3] * (intervals - 1) + [n % 3]
    times = torch.linspace(float(t_start), float(t_end), intervals + 1, dtype=t_end.dtype)
    with tqdm(total=n, disable=disable) as bar:

        def eps(x: Tensor, t: Tensor) -> Tensor:
            """Returns the noise in x at time t, and counts a call."""
            e = (x - model(x, sigma_of(t) * ones, **arguments)) / sigma_of(t)
            bar.update()
            return e

        for i, order in enumerate(orders):
            t, t_next = times[i], times[i + 1]
            target, sigma_up = ancestral_target(t, t_next, t_end, eta)
            e = eps(x, t)
            notify(callback, x, i, sigma_of(t), x - sigma_of(t) * e)
            x = STEPS[order](eps, x, e, t, target)
            x = x + sigma_up * s_noise * noise(sigma_of(t), sigma_of(t_next))
    return x


class StepSize:
    """Length of the next step in t from the error of the last: an integral controller with a soft limit."""

    def __init__(self, h: float, order: float, accept_safety: float = 0.81):
        self.h = h
        self.order = order
        self.accept_safety = accept_safety

    def accepts(self, error: float) -> bool:
        """Adapts the length to an error, in units of the tolerance; tells whether the step that made it may stand."""
        ideal = (1 / (error + 1e-8)) ** (1 / self.order)
        factor = 1 + math.atan(ideal - 1)
        self.h *= factor
        return factor >= self.accept_safety


@torch.no_grad()
def sample_dpm_adaptive(
    model: Model,
    x: Tensor,
    sigma_min: Tensor | float,
    sigma_max: Tensor | float,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    rtol: float = 0.05,
    atol: float = 0.0078,
    h_init: float = 0.05,
    eta: float = 0.0,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by DPM-Solver-23: steps of order 3, as long as their difference to order 2 allows.

    x: noisy latent (B, C, h, w), std about sigma_max. Returns the latent at sigma_min, shape and dtype of x; NaN as
    soon as the model returns some.
    """
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or default_noise_sampler(x)

    def eps(x: Tensor, t: Tensor) -> Tensor:
        """Returns the noise in x at time t."""
        return (x - model(x, sigma_of(t) * ones, **arguments)) / sigma_of(t)

    t, t_end = lambda_of(torch.as_tensor(sigma_max)), lambda_of(torch.as_tensor(sigma_min))
    size = StepSize(h_init, 1.5 if eta else 3)
    x_prev = x
    steps = 0
    with tqdm(disable=disable) as bar:
        while t < t_end - 1e-5:
            t_next = torch.minimum(t_end, t + size.h)
            target, sigma_up = ancestral_target(t, t_next, t_end, eta)
            e = eps(x, t)
            denoised = x - sigma_of(t) * e
            e_1 = inner_eps(eps, x, e, t, target, 1 / 3)
            low = second_order(eps, x, e, t, target, 1 / 3, e_1)
            high = third_order(eps, x, e, t, target, 1 / 3, e_1)
            tolerance = torch.clamp(rtol * torch.maximum(low.abs(), x_prev.abs()), min=atol)
            error = float(torch.linalg.norm((low - high) / tolerance) / x.numel() ** 0.5)
            if not math.isfinite(error):
                return high
            if size.accepts(error):
                x_prev = low
                x = high + sigma_up * s_noise * noise(sigma_of(t), sigma_of(t_next))
                t = t_next
            notify(callback, x, steps, sigma_of(t), denoised)
            steps += 1
            bar.update()
    return x
