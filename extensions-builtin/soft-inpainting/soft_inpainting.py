"""The maths of soft inpainting: blending latents so that contrast survives, and finding what of an image has changed.

Latents are (B, C, h, w), maps of latent cells (h, w).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Map = NDArray[np.float64]


@dataclass(frozen=True)
class SoftInpaintingSettings:
    """What the controls say.

    mask_blend_power, mask_blend_scale: how much of the original a step keeps, by its noise level. detail: exponent of
    the mean in which lengths of latents are blended. mask_influence: 0 for judging changes alike everywhere, 1 for
    judging them by the mask. difference_threshold, difference_contrast: the size of change that counts as half, and how
    sharply larger ones count more.
    """

    mask_blend_power: float
    mask_blend_scale: float
    detail: float
    mask_influence: float
    difference_threshold: float
    difference_contrast: float


def step_mask(mask: Tensor, sigma: Tensor, settings: SoftInpaintingSettings) -> Tensor:
    """Returns the mask for one step: mask^(sigma^power · scale), which nears all-white as noise falls."""
    return mask ** (sigma**settings.mask_blend_power * settings.mask_blend_scale)


def latent_blend(original: Tensor, new: Tensor, mask: Tensor, detail: float) -> Tensor:
    """Returns a linear blend of latents, stretched so that its length over the channels is the power mean of theirs.

    Unlike it, a plain blend of two unrelated latents is shorter than both, and decodes to grey. mask: (..., C, h, w),
    1 for new.
    """
    blended = original * (1 - mask) + new * mask
    share = mask[..., :1, :, :]
    lengths = (torch.linalg.vector_norm(x, dim=1, keepdim=True).double() ** detail for x in (original, new))
    original_power, new_power = lengths
    target = (original_power * (1 - share) + new_power * share) ** (1 / detail)
    length = torch.linalg.vector_norm(blended, dim=1, keepdim=True).double()
    return blended * (target / (length + 1e-5)).to(blended.dtype)


def difference_mask(original: Tensor, new: Tensor, mask: Tensor, settings: SoftInpaintingSettings) -> Map:
    """Returns how much of the new latent (C, h, w) is seen, 0..1, by how far it is from the original. mask: (h, w)."""
    distance = torch.linalg.vector_norm(new - original, dim=0).double().cpu().numpy()
    for window in ((0.9, 1.0), (0.25, 0.75)):
        distance = weighted_histogram_filter(distance, KERNEL, *window)
    threshold = settings.difference_threshold * mask_scalar(mask.double().cpu().numpy(), settings)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(distance / threshold, nan=0.0, posinf=np.inf)
    return 1 - smootherstep(1 / (1 + ratio**settings.difference_contrast))


def mask_scalar(mask: Map, settings: SoftInpaintingSettings) -> Map:
    """Returns the factor on the threshold: where the mask keeps the original, only large changes are to count."""
    kept = 1 - np.clip(mask, 0, 1) ** (settings.mask_blend_scale / 2)
    weight = 0.5 * (1 - settings.mask_influence) + kept * settings.mask_influence
    return weight / (1.00001 - weight)


def smootherstep(x: Map) -> Map:
    """Returns 6x^5 - 15x^4 + 10x^3, which has no slope and no curvature at 0 and 1 (Perlin, Improving Noise, 2002)."""
    return x**3 * (x * (6 * x - 15) + 10)


def gaussian_kernel(radius: int, deviation: float, margin: float) -> Map:
    """Returns a Gaussian from which its value at `margin` deviations was taken, so that it ends there."""
    offset = np.arange(-radius, radius + 1)
    squares = offset[:, None] ** 2 + offset[None, :] ** 2
    edge = np.exp(-(margin**2))
    return np.maximum(0, (np.exp(-squares / deviation**2) - edge) / (1 - edge))


KERNEL = gaussian_kernel(2, 1.5, 2)


def weighted_histogram_filter(values: Map, kernel: Map, low: float, high: float) -> Map:
    """Returns the mean of the neighbours between two shares of the weight, all sorted: a soft median, or maximum.

    The window between the shares has a weight of at least 1.
    """
    neighbours, weights = neighbourhoods(values, kernel)
    order = np.argsort(neighbours, axis=0, kind="stable")
    neighbours, weights = (np.take_along_axis(x, order, axis=0) for x in (neighbours, weights))

    ends = np.cumsum(weights, axis=0)
    start, end = window(ends[-1], low, high)
    overlap = np.clip(np.minimum(ends, end) - np.maximum(ends - weights, start), 0, None)
    total = overlap.sum(axis=0)
    return np.divide((neighbours * overlap).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)


def neighbourhoods(values: Map, kernel: Map) -> tuple[Map, Map]:
    """Returns values around cells and their weights, (kernel size, h, w); what is outside the map weighs nothing."""
    radius = kernel.shape[0] // 2
    height, width = values.shape
    padded = np.pad(values, radius)
    inside = np.pad(np.ones_like(values), radius)
    places = [(dy, dx) for dy in range(kernel.shape[0]) for dx in range(kernel.shape[1])]
    stacked = np.stack([padded[dy : dy + height, dx : dx + width] for dy, dx in places])
    weights = np.stack([inside[dy : dy + height, dx : dx + width] * kernel[dy, dx] for dy, dx in places])
    return stacked, weights


def window(total: Map, low: float, high: float) -> tuple[Map, Map]:
    """Returns the part of a weight between two shares; a narrow one is widened to 1, inside the whole if it can be."""
    start, end = total * low, total * high
    middle, is_narrow = (start + end) / 2, end - start < 1
    start, end = np.where(is_narrow, middle - 0.5, start), np.where(is_narrow, middle + 0.5, end)
    too_far = np.where(is_narrow & (end > total), end - total, 0)
    start, end = start - too_far, end - too_far
    return np.where(start < 0, 0, start), np.where(start < 0, 1, end)
