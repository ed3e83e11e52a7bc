"""pure: mixing the noise of two seeds, moving noise to another size, and Brownian motion for the SDE solvers.

Where normal numbers come from is the caller's business: a function (seed, shape) -> unit Gaussian tensor is passed in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Normal = Callable[[int, tuple[int, ...]], Tensor]


def slerp(val: float, low: Tensor, high: Tensor) -> Tensor:
    """Returns spherical interpolation from low (val 0) to high (val 1) of two noises (C, h, w), each latent column by
    itself.

    Keeps the std of the noise, which linear interpolation would shrink. Nearly parallel tensors are mixed linearly,
    with the weights swapped: that is how v1.10.1 does it, and images depend on it. Columns that are parallel, as all
    of one cell are, have no angle between them and are mixed linearly too.
    """
    low_norm = low / torch.norm(low, dim=1, keepdim=True)
    high_norm = high / torch.norm(high, dim=1, keepdim=True)
    dot = (low_norm * high_norm).sum(1)  # (C, w)
    if dot.mean() > 0.9995:
        return low * val + high * (1 - val)
    omega = torch.acos(dot)
    so = torch.sin(omega)
    is_parallel = dot.abs() >= 1
    low_share = torch.where(is_parallel, 1.0 - val, torch.sin((1.0 - val) * omega) / so)
    high_share = torch.where(is_parallel, val, torch.sin(val * omega) / so)
    return low_share.unsqueeze(1) * low + high_share.unsqueeze(1) * high


def place_centred(noise: Tensor, canvas: Tensor) -> Tensor:
    """Copies noise (C, h, w) into the middle of canvas (C, H, W), in place, cut on both sides where it does not fit."""
    source_y, target_y, height = _overlap(noise.shape[1], canvas.shape[1])
    source_x, target_x, width = _overlap(noise.shape[2], canvas.shape[2])
    canvas[:, target_y : target_y + height, target_x : target_x + width] = noise[
        :, source_y : source_y + height, source_x : source_x + width
    ]
    return canvas


def _overlap(length: int, room: int) -> tuple[int, int, int]:
    """Returns (first source index, first target index, count) along one axis."""
    margin = (room - length) // 2
    return (0, margin, length) if margin >= 0 else (-margin, 0, length + 2 * margin)


@dataclass(frozen=True)
class NormalSource:
    """A function that draws normal numbers, in the place of the device of a torchsde tree."""

    draw: Normal


def torch_normal(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Returns unit Gaussian noise of a seed from a torch generator on the CPU; leaves the global generator alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


TOLERANCE_DIGITS = 6


class BrownianTreeNoiseSampler:
    """Noise for SDE solvers: increments of Brownian motion over σ, so that any number of steps follows the same path.

    sampler(sigma, sigma_next) is (W(sigma_next) - W(sigma)) / √|sigma_next - sigma|, a unit Gaussian of the shape, type
    and device of x (B, C, h, w). seed: one per image, each with a path of its own that does not depend on the rest of
    the batch, or a single one for the whole batch.
    """

    def __init__(
        self,
        x: Tensor,
        sigma_min: Tensor | float,
        sigma_max: Tensor | float,
        seed: int | Sequence[int],
        normal: Normal = torch_normal,
    ):
        self.device = x.device
        self.ends = rounded(sigma_min), rounded(sigma_max)
        self.per_image = not isinstance(seed, int)
        shape = tuple(x.shape[1:] if self.per_image else x.shape)
        self.trees = [
            brownian_tree(shape, x.dtype, float(sigma_min), float(sigma_max), entropy, normal)
            for entropy in (seed if self.per_image else [seed])
        ]

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        # Solvers take exp(ln σ) of the ends of the range, which may lie just outside.
        start, end = (min(max(rounded(s), self.ends[0]), self.ends[1]) for s in (sigma, sigma_next))
        if start == end:
            paths = torch.zeros((len(self.trees), *self.trees[0].shape), device=self.device)
        else:
            sign = 1 if start < end else -1
            low, high = sorted((start, end))
            paths = torch.stack([tree(low, high) for tree in self.trees]) * sign / (sigma_next - sigma).abs().sqrt()
        return (paths if self.per_image else paths[0]).to(self.device)


def rounded(sigma: Tensor | float) -> float:
    """Returns a level as the trees tell them apart."""
    return round(float(sigma), TOLERANCE_DIGITS)


def brownian_tree(
    shape: tuple[int, ...], dtype: torch.dtype, start: float, end: float, entropy: int, normal: Normal
) -> Any:
    """Returns tree(a, b): the increment over [a, b] of a Brownian motion on [start, end], whatever was asked for
    before.

    The parameters are those of torchsde.BrownianTree, which cannot be told where to draw from.
    """
    return brownian_interval_class()(
        t0=start,
        t1=end,
        size=shape,
        dtype=dtype,
        device=NormalSource(normal),
        entropy=entropy % 2**64,
        tol=10**-TOLERANCE_DIGITS,
        pool_size=24,
        halfway_tree=True,
    )


@functools.cache
def brownian_interval_class() -> Any:
    """Returns torchsde's BrownianInterval, able to draw from a NormalSource given as its device.

    torchsde takes its normal numbers from one module-level function. That function is wrapped once; intervals on real
    devices, those of other users of the library, still reach the original.
    """
    from torchsde._brownian import brownian_interval

    original = brownian_interval._randn

    def randn(size: tuple[int, ...], dtype: torch.dtype, device: Any, seed: int) -> Tensor:
        """Returns unit Gaussian noise, from the source that stands in for a device if there is one."""
        if isinstance(device, NormalSource):
            return device.draw(int(seed), size).to(dtype)
        return original(size, dtype, device, seed)

    brownian_interval._randn = randn
    return brownian_interval.BrownianInterval
