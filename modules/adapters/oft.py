"""pure: OFT (Qiu et al. 2023, arXiv:2306.07280) and BOFT (Liu et al. 2023, arXiv:2311.06243): outputs are rotated.

Blocks of outputs are rotated by R = (I + Q)(I - Q)^-1 with Q = B - B^T (Cayley). OFT does so once, for neighbours; BOFT
in several levels, each for outputs farther apart. Stored are the blocks B, or R itself (oft_diag).
"""

from __future__ import annotations

import torch

from modules.adapters.base import Adapter


class Oft(Adapter):
    """oft_blocks: (n, b, b) for OFT, (levels, n, b, b) for BOFT. alpha: how far from I, as a share of the outputs.

    rescale: (outputs, 1, ...), what the rotated outputs are multiplied by.
    """

    kind = "oft"
    needs = (frozenset({"oft_blocks"}), frozenset({"oft_diag"}))
    names = frozenset({"oft_blocks", "oft_diag", "rescale"})
    weight_enters = True

    @property
    def scale(self) -> float:
        """Always 1: alpha is a limit here."""
        return 1.0

    def change(self, weight: torch.Tensor, dyn: int | None = None) -> torch.Tensor:
        """Returns the rotated weight less the weight."""
        rotations = self.rotations(weight)
        if rotations.ndim == 4:
            rotated = butterfly(rotations, weight)
        else:
            blocks = weight.unflatten(0, rotations.shape[:2])
            rotated = torch.einsum("knm,kn...->km...", rotations, blocks).reshape(weight.shape)
        if "rescale" in self.tensors:
            rescale = self.tensor("rescale", weight)
            rotated = rotated * rescale.reshape(-1, *[1] * (weight.ndim - 1))
        return rotated - weight

    def rotations(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the rotation of each block, in the shape of the blocks."""
        if "oft_diag" in self.tensors:
            return self.tensor("oft_diag", weight)
        blocks = self.tensor("oft_blocks", weight)
        q = blocks - blocks.transpose(-1, -2)
        limit = (self.alpha or 0.0) * weight.shape[0]
        if limit > 0:
            norm = torch.linalg.vector_norm(q) + 1e-8
            q = q * (torch.clamp(norm, max=limit) / norm)
        unit = torch.eye(q.shape[-1], device=q.device)
        return (unit + q) @ torch.linalg.inv(unit - q)


def butterfly(rotations: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Returns a weight (outputs, ...) after the rotations (levels, n, b, b) of outputs that lie 2^level apart."""
    size = rotations.shape[-1]
    for level, blocks in enumerate(rotations):
        stride = 2**level * size // 2
        grouped = weight.unflatten(0, (-1, 2, stride)).transpose(1, 2).flatten(0, 2)
        rotated = torch.einsum("kij,kj...->ki...", blocks, grouped.unflatten(0, (-1, size)))
        weight = rotated.flatten(0, 1).unflatten(0, (-1, stride, 2)).transpose(1, 2).flatten(0, 2)
    return weight
