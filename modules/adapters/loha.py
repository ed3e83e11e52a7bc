"""pure: LoHa (FedPara, Hyeon-Woo et al. 2021, arXiv:2108.06098): the elementwise product of two low-rank matrices."""

from __future__ import annotations

import torch

from modules.adapters.base import Adapter


class Loha(Adapter):
    """(w1_a w1_b) ∘ (w2_a w2_b); for convolutions each pair may have a core t (r, r, h, w) between its factors."""

    kind = "loha"
    needs = (frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),)
    names = frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"})

    @property
    def dim(self) -> int:
        """The rank of each of the two."""
        return self.tensors["hada_w1_b"].shape[0]

    def change(self, weight: torch.Tensor, dyn: int | None = None) -> torch.Tensor:
        """Returns the elementwise product."""
        return self.factor("1", weight) * self.factor("2", weight)

    def factor(self, number: str, weight: torch.Tensor) -> torch.Tensor:
        """Returns one of the two low-rank matrices."""
        a, b = self.tensor(f"hada_w{number}_a", weight), self.tensor(f"hada_w{number}_b", weight)
        if f"hada_t{number}" not in self.tensors:
            return a @ b
        return torch.einsum("ijkl,jr,is->srkl", self.tensor(f"hada_t{number}", weight), b, a)
