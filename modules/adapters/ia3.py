"""pure: (IA)^3 (Liu et al. 2022, arXiv:2205.05638): inputs or outputs of a layer are made stronger or weaker."""

from __future__ import annotations

import torch

from modules.adapters.base import Adapter


class Ia3(Adapter):
    """weight: by how much each input (`on_input`) or each output is changed, as a share of it."""

    kind = "ia3"
    needs = (frozenset({"weight", "on_input"}),)
    names = frozenset({"weight", "on_input"})
    weight_enters = True

    def change(self, weight: torch.Tensor, dyn: int | None = None) -> torch.Tensor:
        """Returns the columns or rows of the weight times their shares."""
        axis = 1 if self.number("on_input") else 0
        share = self.tensor("weight", weight)
        return weight * share.reshape([-1 if other == axis else 1 for other in range(weight.ndim)])
