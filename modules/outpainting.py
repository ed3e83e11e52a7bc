"""pure: growing an image beyond its edges: the sizes, and a filling that continues its colours and textures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from modules.errors import InvalidInput

SIDES = ("left", "right", "up", "down")

CELL = 64
"""Sides of a grown image are multiples of this many pixels."""

Pixels = NDArray[np.float64]
"""(H, W, 3) in 0..1."""


def round_up(length: int) -> int:
    """Returns the next multiple of a cell, in pixels."""
    return math.ceil(length / CELL) * CELL


@dataclass(frozen=True)
class Margins:
    """Pixels that are added on each side."""

    left: int = 0
    right: int = 0
    up: int = 0
    down: int = 0

    @classmethod
    def on_sides(cls, pixels: int, sides: list[str] | str) -> Margins:
        """Returns the same on each of the sides named. Raises InvalidInput for a side that there is not."""
        unknown = [side for side in ([sides] if isinstance(sides, str) else sides) if side not in SIDES]
        if unknown:
            raise InvalidInput(
                f"script_args: there is no direction {unknown[0]!r}; choose of {', '.join(SIDES)}", field="script_args"
            )
        return cls(**{side: pixels for side in SIDES if side in sides})

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Returns the size of an image of this size with the margins, in whole cells."""
        return round_up(width + self.left + self.right), round_up(height + self.up + self.down)

    def fitted(self, width: int, height: int) -> Margins:
        """Returns the margins in the same proportion that take an image of this size to its target size."""
        target_width, target_height = self.target(width, height)
        left, right = split(target_width - width, self.left, self.right)
        up, down = split(target_height - height, self.up, self.down)
        return replace(self, left=left, right=right, up=up, down=down)


def split(total: int, low: int, high: int) -> tuple[int, int]:
    """Divides pixels between two sides; a side that has none gets none, which leaves the image at its own edge."""
    if low > 0:
        low = low * total // (low + high)
    if high > 0:
        high = total - low
    return low, high


def mask_around(size: tuple[int, int], hole: tuple[int, int, int, int], mode: str = "RGB") -> Image.Image:
    """Returns white, with a black rectangle (x0, y0, x1, y1), corners included, where the image is kept, if any is."""
    mask = Image.new(mode, size, "white")
    if hole[0] <= hole[2] and hole[1] <= hole[3]:
        ImageDraw.Draw(mask).rectangle(hole, fill="black")
    return mask


def spectrum(image: Pixels) -> NDArray[np.complex128]:
    """Returns the Fourier transform of each channel, with frequency 0 in the middle."""
    axes = (0, 1)
    return np.fft.ifftshift(np.fft.fft2(np.fft.fftshift(image, axes), axes=axes, norm="ortho"), axes)


def from_spectrum(values: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Returns the inverse of `spectrum`."""
    axes = (0, 1)
    return np.fft.ifftshift(np.fft.ifft2(np.fft.fftshift(values, axes), axes=axes, norm="ortho"), axes)


def low_pass(height: int, width: int) -> NDArray[np.float64]:
    """Returns (H, W, 1): 1/((y²+1)(x²+1)), where the shorter side reaches from -1 to 1."""
    shorter = min(height, width)
    y, x = ((2 * np.arange(side) / side - 1) * side / shorter for side in (height, width))
    return (1 / ((y[:, None] ** 2 + 1) * (x[None, :] ** 2 + 1)))[..., None]


def match_histogram(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns values (N,) with the distribution of reference (M,): equal shares lie below equal values."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    levels, level_counts = np.unique(reference, return_counts=True)
    shares = np.cumsum(counts) / values.size
    return np.interp(shares, np.cumsum(level_counts) / reference.size, levels)[places]


def get_matched_noise(image: Pixels, mask: Pixels, noise_q: float = 1.0, color_variation: float = 0.05) -> Pixels:
    """Returns the image with noise where the mask is 1, which has the spectrum and the colours of what is there.

    noise_q: exponent of the spectrum, lower for finer detail. color_variation: 0 for grey noise, 1 for independent
    channels. Always the same for the same image.
    """
    height, width = image.shape[:2]
    mask_grey = mask.mean(axis=2)
    known = image * (1 - mask_grey)[..., None]
    known = known / (known.max() or 1) + image.mean() * mask
    known_spectrum = spectrum(known)
    amplitude = np.abs(known_spectrum)
    phase = np.divide(known_spectrum, amplitude, out=np.zeros_like(known_spectrum), where=amplitude > 0)

    noise = np.random.default_rng(0).random((height, width, 3))
    noise = color_variation * noise + (1 - color_variation) * noise.mean(axis=2, keepdims=True)
    noise = from_spectrum(spectrum(noise) * low_pass(height, width)).real
    shaped = from_spectrum(np.abs(spectrum(noise)) ** 2 * amplitude**noise_q * phase).real
    shaped -= shaped.min()
    shaped /= shaped.max() or 1

    is_new, is_known = mask_grey > 1e-6, mask_grey < 1e-3
    if is_known.any():
        for channel in range(3):
            shaped[is_new, channel] = match_histogram(shaped[is_new, channel], image[is_known, channel])
    return np.clip(image * (1 - mask) + shaped * mask, 0, 1)
