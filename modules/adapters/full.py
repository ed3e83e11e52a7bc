"""pure: a whole difference of a layer's weights, as extracted from a fine-tuned model or trained as such."""

from __future__ import annotations

import torch

from modules.adapters.base import Adapter


class Full(Adapter):
    """diff: of the weight. diff_b: of the bias. One may be missing."""

    kind = "full"
    needs = (frozenset({"diff"}), frozenset({"diff_b"}))
    names = frozenset({"diff", "diff_b"})

    @property
    def changes_weight(self) -> bool:
        """Whether it changes the layer's weight."""
        return "diff" in self.tensors

    def change(self, weight: torch.Tensor, dyn: int | None = None) -> torch.Tensor:
        """Returns the difference."""
        return self.tensor("diff", weight)
