"""pure: how much of a model is on a device at a time, computed from sizes: what weights take, and what is free."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

GIB = 2**30

FIXED_WORK = 0.4 * GIB
"""Bytes that the libraries of a device take when they compute, whatever it is."""

MAPS_AT_ONCE = 40
"""The denoiser's maps at its first level that are in memory together, those of deeper levels and of attention counted
in.
"""


class Offload(IntEnum):
    """What of a model waits in main memory: nothing, the parts that do not compute, or all but the layer that does."""

    NONE = 0
    PARTS = 1
    BLOCKS = 2


DESCRIPTIONS = {
    Offload.NONE: "all of it stays on the device",
    Offload.PARTS: "text encoders, denoiser and VAE take turns on the device",
    Offload.BLOCKS: "text encoders and VAE take turns on the device, the denoiser passes through it layer by layer",
}


@dataclass(frozen=True)
class Sizes:
    """Bytes that a model takes on a device.

    denoiser, text, vae: weights in the types they are stored in, all text encoders together. text_at_once: of those
    that are there together where they take turns, which are all but one of whole texts, or that. work: what computing
    an image of the size the model is made for needs beside weights.
    """

    denoiser: int
    text: int
    text_at_once: int
    vae: int
    work: int

    def needed(self, offload: Offload) -> int:
        """Returns the bytes that have to be free."""
        largest = max(self.text_at_once, self.vae)
        weights = {
            Offload.NONE: self.denoiser + self.text + self.vae,
            Offload.PARTS: max(self.denoiser, largest),
            Offload.BLOCKS: largest,
        }
        return weights[offload] + self.work


@dataclass(frozen=True)
class Choice:
    """How much of a model waits in main memory, why, and from which sizes that was found. free: bytes, None unknown."""

    offload: Offload = Offload.NONE
    reason: str = "default"
    sizes: Sizes | None = None
    free: int | None = None

    def __str__(self) -> str:
        text = f"{DESCRIPTIONS[self.offload]} ({self.reason})"
        if self.sizes is None or self.free is None:
            return text
        wanted = self.sizes.needed(Offload.NONE) / GIB
        return f"{text}: {wanted:.1f} GiB for all at once, {self.free / GIB:.1f} GiB free"


def plan(free: int, sizes: Sizes) -> Offload:
    """Returns the fastest way that fits into what is free; the last one if none does."""
    return next((offload for offload in Offload if sizes.needed(offload) <= free), Offload.BLOCKS)


def work_bytes(pixels: int, factor: int, channels: int, itemsize: int) -> int:
    """Returns about what denoising an image needs beside weights, prompt and negative prompt in one batch.

    pixels: of a square's side. factor: pixels per latent cell and side. channels: of the denoiser's first level.
    itemsize: bytes of a number.
    """
    cells = (pixels // factor) ** 2
    return int(FIXED_WORK + MAPS_AT_ONCE * 2 * cells * channels * itemsize)
