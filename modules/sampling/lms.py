"""pure: the linear multistep solver LMS."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from modules.sampling.steps import Callback, ExtraArgs, Model, notify, to_d, whole_batch


@torch.no_grad()
def sample_lms(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    order: int = 4,
) -> Tensor:
    """Samples by Adams-Bashforth on an uneven grid: a polynomial through the last `order` slopes over each step.

    x: noisy latent (B, C, h, w), std about sigmas[0]. Returns the clean latent, shape and dtype of x.
    """
    ones, arguments = whole_batch(x, extra_args)
    levels = sigmas.cpu().numpy()
    slopes: list[Tensor] = []  # newest first
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **arguments)
        slopes = [to_d(x, sigmas[i], denoised), *slopes[: order - 1]]
        notify(callback, x, i, sigmas[i], denoised)
        x = x + sum(linear_multistep_coeff(len(slopes), levels, i, j) * d for j, d in enumerate(slopes))
    return x


def linear_multistep_coeff(order: int, t: np.ndarray, i: int, j: int) -> float:
    """Returns the weight of the slope at t[i - j] in the step from t[i] to t[i + 1]: an integral of a Lagrange basis.

    The polynomial has degree order - 1; Gauss-Legendre quadrature integrates it exactly.
    """
    nodes, weights = gauss_legendre((order + 1) // 2)
    half, middle = (float(t[i + 1]) - float(t[i])) / 2, (float(t[i + 1]) + float(t[i])) / 2
    tau = middle + half * nodes
    basis = np.ones_like(tau)
    for k in range(order):
        if k != j:
            basis = basis * (tau - float(t[i - k])) / float(t[i - j] - t[i - k])
    return float(weights @ basis * half)


gauss_legendre = functools.cache(np.polynomial.legendre.leggauss)
