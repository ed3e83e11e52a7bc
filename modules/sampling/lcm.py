"""pure: the solver for latent consistency models (Luo et al. 2023, arXiv:2310.04378)."""

from __future__ import annotations

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


@torch.no_grad()
def sample_lcm(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by multistep consistency: jump to the clean latent, add noise of the next level, repeat.

    x: noisy latent (B, C, h, w), std about sigmas[0]. Returns the clean latent, shape and dtype of x.
    """
    ones, arguments = whole_batch(x, extra_args)
    noise = noise_sampler or default_noise_sampler(x)
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **arguments)
        notify(callback, x, i, sigmas[i], denoised)
        x = denoised
        if sigmas[i + 1] > 0:
            x = x + sigmas[i + 1] * noise(sigmas[i], sigmas[i + 1])
    return x
