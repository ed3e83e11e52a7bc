"""pure: LoKr (Edalati et al. 2022, arXiv:2212.10650): the Kronecker product of two matrices."""

from __future__ import annotations

import torch

from modules.adapters.base import Adapter


class Lokr(Adapter):
    """w1 ⊗ w2, each whole or a product of two factors; w2 of convolutions may have a core t2 (r, r, h, w)."""

    kind = "lokr"
    needs = (
        frozenset({"lokr_w1", "lokr_w2"}),
        frozenset({"lokr_w1", "lokr_w2_a", "lokr_w2_b"}),
        frozenset({"lokr_w1_a", "lokr_w1_b", "lokr_w2"}),
        frozenset({"lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"}),
    )
    names = frozenset().union(*needs, {"lokr_t2"})

    @property
    def dim(self) -> int | None:
        """The rank of the factored one, of w2 if both are; None if both are whole, which alpha then says nothing of."""
        factors = (name for name in ("lokr_w2_b", "lokr_w1_b") if name in self.tensors)
        return next((self.tensors[name].shape[0] for name in factors), None)

    def change(self, weight: torch.Tensor, dyn: int | None = None) -> torch.Tensor:
        """Returns the Kronecker product."""
        w1, w2 = self.factor("lokr_w1", weight), self.factor("lokr_w2", weight)
        if w2.ndim > w1.ndim:
            w1 = w1.reshape(*w1.shape, *[1] * (w2.ndim - w1.ndim))
        return torch.kron(w1, w2.contiguous())

    def factor(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Returns w1 or w2."""
        if name in self.tensors:
            return self.tensor(name, weight)
        a, b = self.tensor(f"{name}_a", weight), self.tensor(f"{name}_b", weight)
        if name == "lokr_w2" and "lokr_t2" in self.tensors:
            return torch.einsum("ijkl,jr,is->srkl", self.tensor("lokr_t2", weight), b, a)
        return a @ b
