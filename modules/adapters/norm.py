"""pure: a difference of the scale and the shift of a normalisation layer."""

from __future__ import annotations

import torch

from modules.adapters.base import Adapter


class Norm(Adapter):
    """w_norm: of the scale, b_norm: of the shift, (channels,) each. One may be missing."""

    kind = "norm"
    needs = (frozenset({"w_norm"}), frozenset({"b_norm"}))
    names = frozenset({"w_norm", "b_norm"})

    @property
    def changes_weight(self) -> bool:
        """Whether it changes the layer's weight."""
        return "w_norm" in self.tensors

    @property
    def changes_bias(self) -> bool:
        """Whether it changes the layer's bias."""
        return "b_norm" in self.tensors

    def change(self, weight: torch.Tensor, dyn: int | None = None) -> torch.Tensor:
        """Returns the difference of the scale."""
        return self.tensor("w_norm", weight)

    def bias_change(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the difference of the shift."""
        return self.bias_tensor("b_norm", weight)
