"""pure: Philox 4x32-10 (Salmon et al. 2011), the generator of CUDA, in NumPy: NVIDIA noise on any machine.

>>> round(float(Generator(0).randn((1,))[0]), 5)
-0.92466
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

philox_m = [0xD2511F53, 0xCD9E8D57]
philox_w = [0x9E3779B9, 0xBB67AE85]

MASK = 0xFFFFFFFF
TWO_POW_32_INV = 2.0**-32
TWO_POW_32_INV_2PI = float(np.float32(2 * math.pi)) * TWO_POW_32_INV  # CUDA holds this constant in single precision


def philox4_32(counter: np.ndarray, key: tuple[int, int], rounds: int = 10) -> np.ndarray:
    """Encrypts counters (4, n) of 32-bit numbers, held as uint64, with a key of two 32-bit words. Returns (4, n)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = c0 * np.uint64(philox_m[0]), c2 * np.uint64(philox_m[1])
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ np.uint64(k0), p1 & MASK, (p0 >> 32) ^ c3 ^ np.uint64(k1), p0 & MASK
        k0, k1 = (k0 + philox_w[0]) & MASK, (k1 + philox_w[1]) & MASK
    return np.stack([c0, c1, c2, c3])


def box_muller(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns standard normal numbers, float32, from two arrays of 32-bit numbers."""
    u = x * TWO_POW_32_INV + TWO_POW_32_INV / 2
    v = y * TWO_POW_32_INV_2PI + TWO_POW_32_INV_2PI / 2
    return (np.sqrt(-2.0 * np.log(u)) * np.sin(v)).astype(np.float32)


class Generator:
    """The numbers torch.randn gives on an NVIDIA GPU for a seed. Every request, of any size, moves on by one offset."""

    def __init__(self, seed: int):
        self.seed = seed
        self.offset = 0

    def randn(self, shape: Sequence[int]) -> np.ndarray:
        """Returns standard normal numbers, float32, of a shape."""
        n = math.prod(shape)
        counter = np.zeros((4, n), dtype=np.uint64)
        counter[0] = self.offset
        counter[2] = np.arange(n)
        self.offset += 1
        g = philox4_32(counter, (self.seed & MASK, (self.seed >> 32) & MASK))
        return box_muller(g[0], g[1]).reshape(shape)
