"""pure: what all solvers share: their types, the ODE derivative, the ancestral split of a step, noise and callbacks.

A solver is `sample_x(model, x, sigmas, extra_args=None, callback=None, disable=None, *, ...)`, the calling convention
of k-diffusion. `model(x, sigma, **extra_args)` takes latents (B, C, h, w) and noise levels (B,) and returns the
denoised latents. `sigmas` is (n + 1,), falling, the last one usually 0; keep it on the CPU, so that comparing and
dividing by single levels never waits for an accelerator. `disable` hides the console bar (None: only on a terminal).
Randomness comes from `noise_sampler(sigma, sigma_next)` alone, one unit Gaussian (B, C, h, w) per call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Model = Callable[..., Tensor]
NoiseSampler = Callable[[Tensor, Tensor], Tensor]
Callback = Callable[[dict[str, Any]], None]
ExtraArgs = dict[str, Any]


def append_dims(x: Tensor, target_dims: int) -> Tensor:
    """Appends dimensions of size 1 until there are target_dims: (B,) -> (B, 1, 1, 1). Raises ValueError when there are
    more.
    """
    if x.ndim > target_dims:
        raise ValueError(f"a tensor of {x.ndim} dimensions cannot get {target_dims} by appending some")
    return x[(..., *(None,) * (target_dims - x.ndim))]


def append_zero(x: Tensor) -> Tensor:
    """Appends a 0: (n,) -> (n + 1,)."""
    return torch.cat([x, x.new_zeros([1])])


def lambda_of(sigma: Tensor) -> Tensor:
    """Returns λ = -ln σ, half the log of the signal to noise ratio."""
    return sigma.log().neg()


def sigma_of(lamda: Tensor) -> Tensor:
    """Returns the noise level of λ = -ln σ."""
    return lamda.neg().exp()


def to_d(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """Returns dx/dσ of the probability flow ODE: equations 1 and 3 of Karras et al. 2022 (arXiv:2206.00364). sigma:
    0-d.
    """
    return (x - denoised) / sigma


def get_ancestral_step(sigma_from: Tensor, sigma_to: Tensor, eta: float = 1.0) -> tuple[Tensor, Tensor | float]:
    """Splits a step into the level to solve down to and the std of the noise to add there: down² + up² = sigma_to².

    eta 0 is the plain ODE step, 1 the most noise that keeps the marginals.
    """
    if not eta:
        return sigma_to, 0.0
    sigma_up = min(sigma_to, eta * (sigma_to**2 * (sigma_from**2 - sigma_to**2) / sigma_from**2) ** 0.5)
    sigma_down = (sigma_to**2 - sigma_up**2) ** 0.5
    return sigma_down, sigma_up


def default_noise_sampler(x: Tensor) -> NoiseSampler:
    """Returns noise from torch's global generator, for callers that have no seeds."""
    return lambda sigma, sigma_next: torch.randn_like(x)


def whole_batch(x: Tensor, extra_args: ExtraArgs | None) -> tuple[Tensor, ExtraArgs]:
    """Returns what a call of the model needs beside latents and a level: `model(x, sigma * ones, **arguments)`.

    ones (B,) give one level (0-d) to all images of the batch. arguments are extra_args itself, to be passed on as they
    are at each call: the caller may change them while the solver runs.
    """
    return x.new_ones([x.shape[0]]), {} if extra_args is None else extra_args


def notify(callback: Callback | None, x: Tensor, i: int, sigma: Any, denoised: Tensor, sigma_hat: Any = None) -> None:
    """Tells the callback where step i stands; sigma_hat is the level after churn, sigma unless given."""
    if callback is not None:
        sigma_hat = sigma if sigma_hat is None else sigma_hat
        callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma_hat, "denoised": denoised})
