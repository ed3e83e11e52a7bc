"""pure: what every kind of network of the LoRA family is: tensors for one layer, and the change they make to it.

Names of tensors are the short ones that follow the layer's name in a file: `lora_up.weight`, `alpha`. Tensors may be
mapped from their file and of any type; they are read when a change is computed, in float32, where the weight is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch

from modules.adapters import dora
from modules.uploads import upload

Tensors = Mapping[str, torch.Tensor]
"""Short name -> tensor, of one layer."""

Operation = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""A layer's own operation with other weights: (input, weight, bias) -> output."""

COMMON_NAMES = ("alpha", "scale", "scalar", "dora_scale", "bias", "bias_indices", "bias_values", "bias_size", "diff_b")
"""Tensors that may stand beside those of every kind. `scalar` is in the others already and says nothing."""

LATENT_CHANNELS = 4
"""Channels of a U-Net's first convolution. Inpainting models and such have more; networks are trained on others."""


class AdapterError(ValueError):
    """Tensors that are of no known kind, or do not fit together, or not the layer."""


class Delta(NamedTuple):
    """What is to be added to a layer's weight and to its bias, float32; None where nothing is."""

    weight: torch.Tensor | None
    bias: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Adapter:
    """The tensors of one layer. One subclass a kind, a row of `KINDS` each.

    kind: what its authors call it. needs: sets of names, of which one must be there whole. names: all that it reads
    beside `COMMON_NAMES`. depends_on_weight: whether the change is another for another weight.
    """

    tensors: Tensors

    kind: ClassVar[str]
    needs: ClassVar[tuple[frozenset[str], ...]]
    names: ClassVar[frozenset[str]]
    weight_enters: ClassVar[bool] = False

    @classmethod
    def is_kind(cls, tensors: Tensors) -> bool:
        """Says whether these tensors are of this kind."""
        return any(needed <= tensors.keys() for needed in cls.needs)

    @property
    def dim(self) -> int | None:
        """The rank, None for kinds without one."""
        return None

    @cached_property
    def alpha(self) -> float | None:
        """The strength it was trained with, in ranks; None if the file names none."""
        return self.number("alpha")

    @cached_property
    def scale(self) -> float:
        """What its change is multiplied by: the stored scale, else alpha / rank, else 1."""
        stored = self.number("scale")
        if stored is not None:
            return stored
        return 1.0 if self.alpha is None or not self.dim else self.alpha / self.dim

    @property
    def depends_on_weight(self) -> bool:
        """Whether the change is another for another weight."""
        return self.weight_enters or "dora_scale" in self.tensors

    @property
    def changes_weight(self) -> bool:
        """Whether it changes the layer's weight."""
        return True

    @property
    def changes_bias(self) -> bool:
        """Whether it changes the layer's bias."""
        return "diff_b" in self.tensors

    def delta(self, weight: torch.Tensor, multiplier: float, dyn: int | None = None) -> Delta:
        """Returns what is to be added to the layer's weight and bias, in the weight's shape and on its device.

        weight: the layer's, float32 (outputs, inputs, ...), or (channels,) for a norm. multiplier: the strength asked
        for. dyn: how many ranks to use, None for all. Raises AdapterError if it does not fit the layer.
        """
        with self.fitting(weight):
            change = self.finished(self.change(weight, dyn), weight) * multiplier if self.changes_weight else None
            bias = self.bias_change(weight) * multiplier if self.changes_bias else None
        return Delta(change, bias)

    def add_to(self, out: torch.Tensor, weight: torch.Tensor, multiplier: float, dyn: int | None = None) -> None:
        """Adds to `out`, a tensor like the weight, what `delta` says is to be added to the weight."""
        change, _ = self.delta(weight, multiplier, dyn)
        if change is not None:
            out += change

    def output(
        self, operation: Operation, x: torch.Tensor, weight: torch.Tensor, multiplier: float, dyn: int | None = None
    ) -> torch.Tensor:
        """Returns what it adds to the output of the layer for input x, the layer's weights left alone; see `delta`."""
        added, bias = self.delta(weight.to(torch.float32), multiplier, dyn)
        if added is None:
            added = torch.zeros_like(weight)
        return operation(x, added.to(x), None if bias is None else bias.to(x))

    def change(self, weight: torch.Tensor, dyn: int | None = None) -> torch.Tensor:
        """Returns the change of a weight, before scale and strength; its shape may be flatter than the weight's."""
        raise NotImplementedError

    def bias_change(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the change (outputs,) of the bias before the strength, where weight (outputs, ...) is.

        Raises AdapterError if it does not fit the layer.
        """
        return self.bias_tensor("diff_b", weight)

    def bias_tensor(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Returns a tensor with a number for each output of the layer."""
        if self.tensors[name].shape != weight.shape[:1]:
            raise self.misfit(weight)
        return self.tensor(name, weight)

    def finished(self, change: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Scales a change, decomposes it if the file says so, and gives it the shape of the weight."""
        change = self.shaped(change, weight)
        sparse = self.sparse_part(change)
        if sparse is not None:
            change = change + sparse
        change = change * self.scale
        if "dora_scale" in self.tensors:
            own = weight[:, : change.shape[1]]
            change = dora.decomposed(own, change, self.tensor("dora_scale", weight))
        return with_more_inputs(change, weight)

    def shaped(self, change: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Returns a change in the shape of the weight, but for inputs it was not trained with."""
        if change.shape == weight.shape:
            return change
        if change.ndim > 1 and is_size_for(weight, change.shape[0], change[0].numel()):
            return change.reshape(weight.shape[0], -1, *weight.shape[2:])
        raise self.misfit(weight, change)

    def sparse_part(self, change: torch.Tensor) -> torch.Tensor | None:
        """Returns what was stored of a weight beside its factors, as a tensor or as its few elements."""
        if "bias" in self.tensors:
            return self.tensor("bias", change).reshape(change.shape)
        if {"bias_indices", "bias_values", "bias_size"} <= self.tensors.keys():
            size = torch.Size(self.tensors["bias_size"].tolist())
            if size.numel() != change.numel():
                raise self.misfit(change)
            indices = upload(self.tensors["bias_indices"], change.device, torch.int64)
            values = self.tensor("bias_values", change)
            return change.new_zeros(size).index_put_(tuple(indices), values, accumulate=True).reshape(change.shape)
        return None

    @contextmanager
    def fitting(self, weight: torch.Tensor) -> Iterator[None]:
        """Turns torch's complaints about shapes inside the block into the error that names them."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError) as e:
            raise self.misfit(weight) from e

    def misfit(self, weight: torch.Tensor, change: torch.Tensor | None = None) -> AdapterError:
        """Returns the error that names the shapes of layer and tensors."""
        own = {name: tuple(tensor.shape) for name, tensor in self.tensors.items() if tensor.numel() > 1}
        is_for = f"is for {tuple(change.shape)}" if change is not None else f"has {own}"
        return AdapterError(f"the layer's weight has shape {tuple(weight.shape)}, the {self.kind} {is_for}")

    def tensor(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Returns a tensor of the file in float32, where another one is."""
        return upload(self.tensors[name], like.device, torch.float32)

    def matrix(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Returns a tensor as a matrix, its first axis the rows."""
        return self.tensor(name, like).flatten(1)

    def number(self, name: str) -> float | None:
        """Returns a tensor of one number, None if it is not there."""
        tensor = self.tensors.get(name)
        return None if tensor is None else float(tensor.reshape(-1)[0])


def is_size_for(weight: torch.Tensor, rows: int, columns: int) -> bool:
    """Says whether a matrix of this size can change a weight (outputs, inputs, ...), or its inputs from the latent."""
    latent = LATENT_CHANNELS * weight.shape[2:].numel() if weight.ndim == 4 else None
    return weight.ndim > 1 and rows == weight.shape[0] and columns in (weight[0].numel(), latent)


def with_more_inputs(change: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Returns a change with zeros for inputs of the layer that it knows nothing of."""
    if change.shape == weight.shape:
        return change
    whole = change.new_zeros(weight.shape)
    whole[:, : change.shape[1]] = change
    return whole
