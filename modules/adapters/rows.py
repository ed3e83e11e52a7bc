"""pure: a network made for several layers at once, as one of them sees it.

Some files have one weight, its rows those of several layers of ours: query, key and value of attention; and some have
the rows of a layer in another order: shift before scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from modules.adapters.base import Adapter, AdapterError, Delta


@dataclass(frozen=True, eq=False)
class Rows(Adapter):
    """whole: the network. start, stop: which of its `total` rows of outputs are this layer's; the last goes on at 0."""

    whole: Adapter
    start: int
    stop: int
    total: int

    @classmethod
    def of(cls, whole: Adapter, start: int, stop: int, total: int) -> Rows:
        """Returns these rows of a network. Raises AdapterError if they cannot be told without the others."""
        if stop - start < total and mixes_rows(whole, start):
            raise AdapterError(f"a {whole.kind} of this form for several layers at once cannot be split among them")
        return cls(whole.tensors, whole, start, stop, total)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """What its authors call it."""
        return self.whole.kind

    @property
    def dim(self) -> int | None:
        """The rank."""
        return self.whole.dim

    @property
    def scale(self) -> float:  # type: ignore[override]
        """What its change is multiplied by."""
        return self.whole.scale

    @property
    def depends_on_weight(self) -> bool:
        """Whether the change is another for another weight."""
        return self.whole.depends_on_weight

    @property
    def changes_weight(self) -> bool:
        """Whether it changes the layer's weight."""
        return self.whole.changes_weight

    @property
    def changes_bias(self) -> bool:
        """Whether it changes the layer's bias."""
        return self.whole.changes_bias

    def delta(self, weight: torch.Tensor, multiplier: float, dyn: int | None = None) -> Delta:
        """Returns what is to be added to this layer: the others count as zeros, which changes nothing in its rows."""
        if weight.shape[0] != self.stop - self.start:
            raise self.misfit(weight)
        embedded = weight.new_zeros(self.total, *weight.shape[1:])
        embedded[self.own] = weight
        change, bias = self.whole.delta(embedded, multiplier, dyn)
        return Delta(None if change is None else change[self.own], None if bias is None else bias[self.own])

    def bias_change(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the change of this layer's bias before the strength."""
        return self.whole.bias_change(weight.new_empty(self.total))[self.own]

    @property
    def own(self) -> slice | torch.Tensor:
        """Which rows are this layer's."""
        if self.stop <= self.total:
            return slice(self.start, self.stop)
        return torch.arange(self.start, self.stop) % self.total


def mixes_rows(adapter: Adapter, start: int) -> bool:
    """Says whether rows of the changed weight depend on rows of the weight on the other side of row `start`."""
    lengths = adapter.tensors.get("dora_scale")
    by_column = lengths is not None and lengths.ndim > 1 and lengths.shape[1] > 1
    blocks = adapter.tensors.get("oft_blocks", adapter.tensors.get("oft_diag"))
    across = blocks is not None and (blocks.ndim == 4 or start % blocks.shape[-1] != 0)
    return by_column or across
