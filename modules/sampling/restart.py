"""pure: Restart sampling (Xu et al. 2023, arXiv:2306.14878): Heun steps that go back up in noise, and down."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from modules.sampling.schedules import get_sigmas_karras
from modules.sampling.steps import (
    Callback,
    ExtraArgs,
    Model,
    NoiseSampler,
    default_noise_sampler,
    notify,
    to_d,
    whole_batch,
)

RestartList = dict[float, tuple[int, int, float]]
"""{restart at the level nearest to this: (number of levels, number of repetitions, up to the level nearest to this)}"""


@torch.no_grad()
def sample_restart(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
    restart_list: RestartList | None = None,
) -> Tensor:
    """Samples by Heun steps, with noise added wherever the level rises.

    x: noisy latent (B, C, h, w), std about sigmas[0]. Returns the clean latent, shape and dtype of x.
    """
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or default_noise_sampler(x)
    if restart_list is None:
        sigmas, restart_list = plan_restarts(sigmas)
    last_sigma = sigmas[0]
    for i, (sigma, sigma_next) in enumerate(tqdm(restart_steps(sigmas, restart_list), disable=disable)):
        if last_sigma < sigma:
            x = x + noise(last_sigma, sigma) * s_noise * (sigma**2 - last_sigma**2) ** 0.5
        denoised = model(x, sigma * ones, **arguments)
        d = to_d(x, sigma, denoised)
        notify(callback, x, i, sigma_next, denoised, sigma)
        dt = sigma_next - sigma
        if sigma_next > 0:
            x_next = x + d * dt
            d_next = to_d(x_next, sigma_next, model(x_next, sigma_next * ones, **arguments))
            d = (d + d_next) / 2
        x = x + d * dt
        last_sigma = sigma_next
    return x


def plan_restarts(sigmas: Tensor) -> tuple[Tensor, RestartList]:
    """Shortens a schedule of 20 steps and more to a Karras one that leaves room for repetitions between σ 0.1 and 2."""
    steps = len(sigmas) - 1
    if steps < 20:
        return sigmas, {}
    restart_steps, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    shortened = get_sigmas_karras(steps - restart_steps * times, float(sigmas[-2]), float(sigmas[0]))
    return shortened, {0.1: (restart_steps + 1, times, 2.0)}


def restart_steps(sigmas: Tensor, restart_list: RestartList) -> list[tuple[Tensor, Tensor]]:
    """Returns all steps (level, next level); a level above the end of the last step means noise is added."""
    restarts = {_nearest(sigmas, low): restart for low, restart in restart_list.items()}
    steps = []
    for i in range(len(sigmas) - 1):
        steps.append((sigmas[i], sigmas[i + 1]))
        if i + 1 not in restarts:
            continue
        levels, times, high = restarts[i + 1]
        top = _nearest(sigmas, high)
        if top < i + 1:
            again = get_sigmas_karras(levels, float(sigmas[i + 1]), float(sigmas[top]))[:-1]
            steps += list(zip(again[:-1], again[1:], strict=True)) * times
    return steps


def _nearest(sigmas: Tensor, level: float) -> int:
    return int((sigmas - level).abs().argmin())
