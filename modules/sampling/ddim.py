"""pure: solvers over integer timesteps: DDIM, DDIM CFG++ and PLMS.

Their model returns eps for (x, timestep), not the denoised latent. `timesteps` (n,) rise; the loop runs from the last
down to the second, the first gets no step of its own. `alphas_cumprod` is the table ᾱ of the model, one value per
timestep; it is read on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from tqdm import trange

from modules.sampling.steps import (
    Callback,
    ExtraArgs,
    Model,
    NoiseSampler,
    default_noise_sampler,
    notify,
    whole_batch,
)


class Alphas:
    """Per step k: ᾱ at timesteps[k], ᾱ one step down, and √(1 - ᾱ), as 0-d tensors of the type of x.

    Roots are taken in the type of the table, so a table in half precision gives the images it gives in v1.10.1.
    """

    def __init__(self, alphas_cumprod: Tensor, timesteps: Tensor, x: Tensor):
        table, timesteps = alphas_cumprod.cpu(), timesteps.cpu()
        alphas = table[timesteps]
        self.now = alphas.to(x.dtype)
        self.previous = table[torch.cat([timesteps[:1], timesteps[:-1]])].to(x.dtype)
        self.sqrt_one_minus_now = (1 - alphas).sqrt().to(x.dtype)

    def ddim_sigma(self, k: int, eta: float) -> Tensor:
        """Returns the std of the noise added by step k: equation 16 of Song et al. 2020."""
        now, previous = self.now[k].double(), self.previous[k].double()
        sigma = eta * ((1 - previous) / (1 - now) * (1 - now / previous)).sqrt()
        return sigma.to(self.now.dtype)

    def predict_x0(self, x: Tensor, eps: Tensor, k: int) -> Tensor:
        """Returns the clean latent that a prediction of the noise at step k stands for."""
        return (x - self.sqrt_one_minus_now[k] * eps) / self.now[k].sqrt()


@torch.no_grad()
def sample_ddim(
    model: Model,
    x: Tensor,
    timesteps: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    alphas_cumprod: Tensor,
    eta: float = 0.0,
    noise_sampler: NoiseSampler | None = None,
    direction: Callable[[Tensor], Tensor] = lambda eps: eps,
) -> Tensor:
    """Samples by DDIM (Song et al. 2020, arXiv:2010.02502), equation 12. Deterministic while eta is 0.

    x: noisy latent (B, C, h, w) of unit std. direction(eps): the noise added back, the prediction itself by default.
    Returns the latent at timesteps[0], shape and dtype of x.
    """
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or default_noise_sampler(x)
    alphas = Alphas(alphas_cumprod, timesteps, x)
    times = timesteps.cpu()
    for i in trange(len(times) - 1, disable=disable):
        k = len(times) - 1 - i
        eps = model(x, times[k] * ones, **arguments)
        sigma = alphas.ddim_sigma(k, eta)
        x0 = alphas.predict_x0(x, eps, k)
        towards_x = (1.0 - alphas.previous[k] - sigma**2).sqrt() * direction(eps)
        x = alphas.previous[k].sqrt() * x0 + towards_x + sigma * noise(times[k], times[k - 1])
        notify(callback, x, i, 0, x0)
    return x


@torch.no_grad()
def sample_ddim_cfgpp(model: Any, x: Tensor, timesteps: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Samples by DDIM CFG++ (Chung et al. 2024, arXiv:2406.08070), which adds back the unconditional prediction.

    model: a CFG denoiser that keeps the unconditional eps of its last call in `last_noise_uncond` when
    `need_last_noise_uncond` is set. Guidance scales of CFG++ lie between 0 and 1; the usual scale divided by 12.5 comes
    near them.
    """
    model.cond_scale_miltiplier = 1 / 12.5
    model.need_last_noise_uncond = True
    return sample_ddim(model, x, timesteps, *args, **kwargs, direction=lambda eps: model.last_noise_uncond)


ADAMS_BASHFORTH = ((1,), (3, -1), (23, -16, 5), (55, -59, 37, -9))
"""Weights of the newest, second newest, ... slope for orders 1 to 4, over their sum 1, 2, 12, 24."""


@torch.no_grad()
def sample_plms(
    model: Model,
    x: Tensor,
    timesteps: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    alphas_cumprod: Tensor,
) -> Tensor:
    """Samples by PLMS (Liu et al. 2022, arXiv:2202.09778): DDIM along an Adams-Bashforth mean of four predictions.

    The first step averages the predictions at both of its ends, which takes a call of the model more.
    """
    ones, arguments = whole_batch(x, extra_args)
    alphas = Alphas(alphas_cumprod, timesteps, x)
    times = timesteps.cpu()

    def step(x: Tensor, eps: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Returns the latent of the next step, and the clean latent it was aimed at."""
        x0 = alphas.predict_x0(x, eps, k)
        return alphas.previous[k].sqrt() * x0 + (1.0 - alphas.previous[k]).sqrt() * eps, x0

    history: list[Tensor] = []  # newest first
    for i in trange(len(times) - 1, disable=disable):
        k = len(times) - 1 - i
        eps = model(x, times[k] * ones, **arguments)
        history = [eps, *history[:3]]
        if i == 0:
            ahead, _ = step(x, eps, k)
            eps = (eps + model(ahead, times[k - 1] * ones, **arguments)) / 2
        else:
            weights = ADAMS_BASHFORTH[len(history) - 1]
            eps = sum(weight * e for weight, e in zip(weights, history, strict=True)) / sum(weights)
        x, x0 = step(x, eps, k)
        notify(callback, x, i, 0, x0)
    return x
