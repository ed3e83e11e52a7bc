"""pure: GLoRA (Chavan et al. 2023, arXiv:2306.07967): one low-rank product is added, another transforms the weight."""

from __future__ import annotations

import torch

from modules.adapters.base import Adapter


class Glora(Adapter):
    """W + W A + B, with A and B of two factors each.

    Files name the factors in two ways: A = a2 a1, B = b2 b1 as LyCORIS did up to 2, A = a1 a2, B = b1 b2 as since 3.
    Their shapes tell which: one has as many rows as there are inputs, the other as many columns.
    """

    kind = "glora"
    needs = (frozenset({"a1.weight", "a2.weight", "b1.weight", "b2.weight"}),)
    names = frozenset({"a1.weight", "a2.weight", "b1.weight", "b2.weight", "bm.weight"})
    weight_enters = True

    @property
    def dim(self) -> int:
        """The rank."""
        return self.tensors["a1.weight"].flatten(1).shape[0 if self.is_old else 1]

    @property
    def is_old(self) -> bool:
        """Whether a1 comes after a2. Where ranks and inputs are as many, nothing tells."""
        rows, columns = self.tensors["a1.weight"].flatten(1).shape
        return rows <= columns

    def change(self, weight: torch.Tensor, dyn: int | None = None) -> torch.Tensor:
        """Returns W A + B."""
        first, second = ("2", "1") if self.is_old else ("1", "2")
        a = self.matrix(f"a{first}.weight", weight) @ self.matrix(f"a{second}.weight", weight)
        b = self.matrix(f"b{first}.weight", weight) @ self.matrix(f"b{second}.weight", weight)
        transformed = torch.einsum("oi...,ij->oj...", weight, a)
        return transformed + b.reshape(transformed.shape)
