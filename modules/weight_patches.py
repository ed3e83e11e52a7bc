"""engine: changed weights of a loaded model: the originals are kept beside them and copied back, bit for bit.

A weight is changed where it is stored, by copying into its tensor; the parameter itself is never replaced. Measured on
diffusers 0.42 and accelerate, that place is the parameter's own `data` between two calls of the network, whatever hooks
it has:

- plain weights, and parts that take turns on the device (--medvram): moving them replaces `data`, there is no second
  copy. The parameter object stays.
- stored in 8 bits (layerwise casting): each layer is cast up before its forward and down again after it, both by
  replacing `data`. The change is computed in float32 from the stored value and rounded to 8 bits. A forward that raises
  leaves its layer in the wide type until the next one, so what is written then is rounded to 8 bits all the same.
- offloaded by layers (--lowvram, group offloading): `data` is moved to the device before a layer's forward and back
  after it; a forward that raises leaves its layer on the device until the next one. With a stream, the group has a
  tensor of its own in main memory, which `data` is between two calls, and which each call begins with: that is the
  place.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from modules import devices, quantized

Change = Callable[[torch.Tensor], torch.Tensor]
"""A weight in float32, the original or what an earlier patch made of it -> the changed one, of the same shape.

It may be computed in the memory of the one that is given.
"""


class WeightPlace(NamedTuple):
    """Where a weight of a loaded network is: the module that holds it, and its name there.

    Holds while layers are put around that module.
    """

    module: nn.Module
    name: str

    @classmethod
    def at(cls, model: nn.Module, path: str) -> WeightPlace:
        """Returns the place of the parameter that is at a path now. Raises LookupError if there is none."""
        owner, _, name = path.rpartition(".")
        try:
            module = model.get_submodule(owner)
            module.get_parameter(name)
        except AttributeError as e:
            raise LookupError(f"the model has no weight {path}") from e
        return cls(module, name)

    @property
    def parameter(self) -> nn.Parameter:
        """The weight."""
        return getattr(self.module, self.name)

    @property
    def stored(self) -> torch.Tensor:
        """The tensor the weight is stored in now."""
        parameter, hooks = self.parameter, getattr(self.module, "_diffusers_hook", None)
        offloading = hooks.get_hook("group_offloading") if hooks else None
        here = parameter.detach()  # not `data`: what is written counts in the version of the parameter
        return offloading.group.cpu_param_dict.get(parameter, here) if offloading else here

    @property
    def exact(self) -> torch.Tensor | None:
        """The weight before it was rounded to 8 bits, where that is kept: under v1.10.1's name, in main memory."""
        return getattr(self.module, f"fp16_{self.name}", None)

    def keep_exact(self, weight: torch.Tensor) -> None:
        """Keeps a weight as it is before it is rounded to 8 bits."""
        setattr(self.module, f"fp16_{self.name}", weight.to("cpu", torch.float16, copy=True))

    @property
    def values(self) -> torch.Tensor:
        """The numbers of the weight, also of one that is stored in blocks."""
        return quantized.values(self.parameter)

    @property
    def resting_type(self) -> torch.dtype:
        """The type it is stored in between two calls, also after one that left its layer cast up."""
        hooks = getattr(self.module, "_diffusers_hook", None)
        casting = hooks.get_hook("layerwise_casting") if hooks else None
        return casting.storage_dtype if casting else self.stored.dtype


@dataclass(frozen=True, eq=False)
class WeightPatch:
    """Changes of weights. changes: which weight -> what becomes of it."""

    changes: Mapping[WeightPlace, Change]


class PatchedWeights:
    """The weight patches of a model by kind, in the order in which they act, and the originals of what they change.

    An original lies on the device of its weight, or in main memory for models whose parts take turns, and goes where
    the whole model goes. What was freed (moved to "meta") is not restored.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = weakref.ref(model)
        self.patches: dict[str, WeightPatch] = {}
        self.originals: dict[WeightPlace, torch.Tensor] = {}

    @torch.no_grad()
    def set(self, patches: Mapping[str, WeightPatch]) -> None:
        """Makes these the patches: computes what they change otherwise than before anew, from the originals.

        Raises ValueError for a change of a weight's shape, and whatever a change raises; all weights are as before
        then.
        """
        if list(patches.items()) == list(self.patches.items()):
            return
        before, self.patches = self.patches, dict(patches)
        places = changed_places(before, self.patches)
        with devices.without_autocast():  # which would compute products in 16 bits
            try:
                for place in places:
                    self._update(place)
            except BaseException:
                self.patches = before
                self._go_back(places)
                raise

    def _go_back(self, places: Iterable[WeightPlace]) -> None:
        """Makes weights again what the patches say; takes all patches off if that fails too."""
        try:
            for place in places:
                self._update(place)
        except BaseException:
            self.patches = {}
            for place in list(self.originals):
                self._update(place)
            raise

    def _update(self, place: WeightPlace) -> None:
        changes = acting(self.patches, place)
        if changes:
            if place not in self.originals:
                self._keep(place)
            exact = place.exact
            write(place, self.originals[place] if exact is None else exact, changes)
        elif place in self.originals:
            put_back(place, self.originals.pop(place))

    def _keep(self, place: WeightPlace) -> None:
        weight = place.stored
        takes_turns = getattr(self._model(), "lowvram", False)
        device = "cpu" if takes_turns and not weight.is_meta else weight.device
        self.originals[place] = weight.to(device, copy=True)

    def forget_exact(self) -> None:
        """Frees what is kept of weights before they were rounded to 8 bits."""
        model = self._model()
        for module in model.modules() if model is not None else ():
            for name in ("fp16_weight", "fp16_bias"):
                vars(module).pop(name, None)

    def move(self, convert: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Does to the originals what is done to all tensors of the model."""
        self.originals = {place: convert(original) for place, original in self.originals.items()}


def acting(patches: Mapping[str, WeightPatch], place: WeightPlace) -> list[Change]:
    """Returns the changes of one weight, in their order."""
    return [patch.changes[place] for patch in patches.values() if place in patch.changes]


def changed_places(before: Mapping[str, WeightPatch], after: Mapping[str, WeightPatch]) -> list[WeightPlace]:
    """Returns the weights whose changes, or the order of these, differ; each once."""
    places = dict.fromkeys(
        place for patches in (before, after) for patch in patches.values() for place in patch.changes
    )
    return [place for place in places if acting(before, place) != acting(after, place)]


def write(place: WeightPlace, original: torch.Tensor, changes: Iterable[Change]) -> None:
    """Stores what changes, one after the other, make of the original. Cuts off what 8 bits have no number for."""
    stored = place.stored
    if stored.is_meta:
        return
    resting = place.resting_type
    is_plain = stored.dtype == resting == torch.float32
    value = stored.copy_(original) if is_plain else original.to(stored.device, torch.float32, copy=True)
    for change in changes:
        value = change(value)
    if value.shape != stored.shape:
        raise ValueError(f"a weight has shape {tuple(stored.shape)}, what it was changed to {tuple(value.shape)}")
    if resting.itemsize == 1:
        limit = torch.finfo(resting).max  # what is larger would become NaN
        value = value.clamp(-limit, limit)
    if value is not stored:
        stored.copy_(value.to(resting))


def put_back(place: WeightPlace, original: torch.Tensor) -> None:
    """Stores the original again, unless it or the weight was freed."""
    stored = place.stored
    if not stored.is_meta and not original.is_meta:
        stored.copy_(original)
