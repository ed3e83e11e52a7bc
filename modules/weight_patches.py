"""engine: changed weights of a loaded model: the originals are kept beside them and copied back, bit for bit.

A weight is changed where it is stored, by copying into its tensor; the parameter itself is never replaced. Measured on
diffusers 0.42 and accelerate, that place is the parameter's own `data` between two calls of the network, whatever hooks
it has:

- plain weights, and parts that take turns on the device (--medvram): moving them replaces `data`, there is no second
  copy. The parameter object stays.
- stored in 8 bits (layerwise casting): each layer is cast up before its forward and down again after it, both by
  replacing `data`. The change is computed in float32 from the stored value and rounded to 8 bits. A forward that raises
  leaves its layer in the wide type until the next one, so what is written then is rounded to 8 bits all the same.
- offloaded by blocks (--lowvram, group offloading): `data` is moved to the device before a block's forward and back
  after it. Only with a stream, which is not used here, does the group keep a copy of its own in main memory. A forward
  that raises leaves its block on the device until the next one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

Change = Callable[[torch.Tensor], torch.Tensor]
"""A weight in float32, the original or what an earlier patch made of it -> the changed one, of the same shape."""


@dataclass(frozen=True, eq=False)
class WeightPatch:
    """Changes of weights. changes: path of a parameter in the model -> what becomes of it."""

    changes: Mapping[str, Change]


@dataclass
class KeptWeight:
    """The original of a changed weight, which is the parameter `leaf` of the layer `owner`."""

    owner: nn.Module
    leaf: str
    original: torch.Tensor

    @property
    def stored(self) -> torch.Tensor:
        """The tensor the weight is stored in now."""
        return getattr(self.owner, self.leaf).data


class PatchedWeights:
    """The weight patches of a model by kind, in the order in which they act, and the originals of what they change.

    An original lies on the device of its weight, or in main memory for models whose parts take turns, and goes where
    the whole model goes. What was freed (moved to "meta") is not restored.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = weakref.ref(model)
        self.patches: dict[str, WeightPatch] = {}
        self.kept: dict[str, KeptWeight] = {}

    @torch.no_grad()
    def set(self, patches: Mapping[str, WeightPatch]) -> None:
        """Makes these the patches: computes what they change otherwise than before anew, from the originals.

        Raises LookupError for a weight the model does not have, ValueError for a change of its shape, and whatever a
        change raises; all weights are as before then.
        """
        before, self.patches = self.patches, dict(patches)
        names = changed_names(before, self.patches)
        try:
            for name in names:
                self._update(name)
        except BaseException:
            self.patches = before
            self._go_back(names)
            raise

    def _go_back(self, names: Iterable[str]) -> None:
        """Makes weights again what the patches say; takes all patches off if that fails too."""
        try:
            for name in names:
                self._update(name)
        except BaseException:
            self.patches = {}
            for name in list(self.kept):
                self._update(name)
            raise

    def _update(self, name: str) -> None:
        changes = acting(self.patches, name)
        if changes:
            kept = self.kept.get(name) or self._keep(name)
            write(kept, changes, name)
        elif name in self.kept:
            put_back(self.kept.pop(name))

    def _keep(self, name: str) -> KeptWeight:
        model = self._model()
        path, _, leaf = name.rpartition(".")
        try:
            owner = model.get_submodule(path)
            weight = owner.get_parameter(leaf).data
        except AttributeError as e:
            raise LookupError(f"the model has no weight {name}") from e
        takes_turns = getattr(model, "lowvram", False)
        original = weight.to("cpu" if takes_turns and not weight.is_meta else weight.device, copy=True)
        self.kept[name] = KeptWeight(owner, leaf, original)
        return self.kept[name]

    def move(self, convert: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Does to the originals what is done to all tensors of the model."""
        for kept in self.kept.values():
            kept.original = convert(kept.original)


def acting(patches: Mapping[str, WeightPatch], name: str) -> list[Change]:
    """Returns the changes of one weight, in their order."""
    return [patch.changes[name] for patch in patches.values() if name in patch.changes]


def changed_names(before: Mapping[str, WeightPatch], after: Mapping[str, WeightPatch]) -> list[str]:
    """Returns the weights whose changes, or the order of these, differ; each once."""
    names = dict.fromkeys(name for patches in (before, after) for patch in patches.values() for name in patch.changes)
    return [name for name in names if acting(before, name) != acting(after, name)]


def write(kept: KeptWeight, changes: Iterable[Change], name: str) -> None:
    """Stores what changes, one after the other, make of the original. Cuts off what 8 bits have no number for."""
    stored = kept.stored
    if stored.is_meta:
        return
    value = kept.original.to(stored.device, torch.float32, copy=True)
    for change in changes:
        value = change(value)
    if value.shape != stored.shape:
        raise ValueError(f"the weight {name} has shape {tuple(stored.shape)}, not {tuple(value.shape)}")
    resting = resting_type(kept)
    if resting.itemsize == 1:
        limit = torch.finfo(resting).max  # what is larger would become NaN
        value = value.clamp(-limit, limit)
    stored.copy_(value.to(resting))


def resting_type(kept: KeptWeight) -> torch.dtype:
    """Returns the type a weight is stored in between two calls, also after one that left its layer cast up."""
    hooks = getattr(kept.owner, "_diffusers_hook", None)
    casting = hooks.get_hook("layerwise_casting") if hooks else None
    return casting.storage_dtype if casting else kept.stored.dtype


@torch.no_grad()
def put_back(kept: KeptWeight) -> None:
    """Stores the original again."""
    stored = kept.stored
    if not stored.is_meta and not kept.original.is_meta:
        stored.copy_(kept.original)
