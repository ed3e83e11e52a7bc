"""engine: what networks of the LoRA family change in a loaded model: all that are active together, as one patch.

Each change is computed from the weight without any network, and they are summed, so their order does not matter.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from modules import quantized
from modules.adapter_files import ModelLayer, NetworkFile, Target
from modules.adapters import Adapter, AdapterError, Operation
from modules.weight_patches import Change, WeightPatch, WeightPlace

logger = logging.getLogger(__name__)

KIND = "networks"
"""Of the patch, among those of a model."""

MAX_NAMED = 5
"""Layers and keys that a message names."""


@dataclass
class Match:
    """What of a file is for a model.

    targets: what it holds for which layer. unknown: layers of the file that the model does not have. failed: layers for
    which no change could be computed. error: why there is nothing at all.
    """

    targets: tuple[Target, ...] = ()
    unknown: tuple[str, ...] = ()
    failed: set[str] = field(default_factory=set)
    error: str | None = None


matches: weakref.WeakKeyDictionary[nn.Module, weakref.WeakKeyDictionary[NetworkFile, Match]] = (
    weakref.WeakKeyDictionary()
)
"""Model -> file -> what was found out when it was first used on that model."""


def match_of(model: Any, file: NetworkFile) -> Match:
    """Returns what of a file is for a model (WebuiSdModel). Logs, the first time, what is not."""
    of_model = matches.setdefault(model, weakref.WeakKeyDictionary())
    found = of_model.get(file)
    if found is None:
        try:
            matched = model.layer_names.match(file)
            found = Match(matched.targets, matched.unknown)
        except AdapterError as e:
            found = Match(error=str(e))
        of_model[file] = found
        for remark in remarks_on(file.filename, file, found, model):
            logger.warning("%s", remark)
    return found


def remarks_on(name: str, file: NetworkFile, match: Match, model: Any) -> Iterator[str]:
    """Yields what is to be said of a network on a model (WebuiSdModel): what of it is not used, and why."""
    if match.error is not None:
        yield f"{name} cannot be used: {match.error}"
    elif match.unknown and all(target.layer.is_text for target in match.targets):
        made_for = f"is for {file.family.title}" if file.family else "is for another kind of model"
        changed = "only text encoders" if match.targets else "nothing"
        unknown = named(match.unknown, "layer")
        yield f"{name} {made_for}, and changes {changed} in {model.family.title}: {unknown} unknown"
    elif match.unknown:
        yield f"{name}: {named(match.unknown, 'layer')} not in the model and not used"
    if file.unread:
        yield f"{name}: {named(file.unread, 'key')} not known and not used"


def named(names: Iterable[str], what: str) -> str:
    """Returns "3 layers (a, b, c) are", the first few by name."""
    names = list(names)
    more = ", ..." if len(names) > MAX_NAMED else ""
    shown = f"{', '.join(names[:MAX_NAMED])}{more}"
    return f"{len(names)} {what}s ({shown}) are" if len(names) > 1 else f"1 {what} ({shown}) is"


@dataclass(frozen=True)
class ActiveNetwork:
    """A network as it is asked for. text, unet: its strengths there. rank: how many ranks to use, None for all."""

    name: str
    file: NetworkFile
    text: float = 1.0
    unet: float = 1.0
    rank: int | None = None

    def strength(self, layer: ModelLayer) -> float:
        """Returns how strongly it changes a layer."""
        return self.text if layer.is_text else self.unet


@dataclass(frozen=True)
class Part:
    """What one network adds to one layer. Equal to those that add the same."""

    adapter: Adapter
    strength: float
    rank: int | None
    target: Target = field(compare=False)
    match: Match = field(compare=False)

    def compute(self, function: Callable[..., Any], *args: Any) -> Any:
        """Returns what a function of the adapter returns; notes a layer it does not fit, and returns None."""
        try:
            return function(*args)
        except AdapterError as e:
            self.note_failure(e)
            return None

    def note_failure(self, reason: object) -> None:
        """Notes that the layer could not be changed, and logs why, once."""
        if self.target.name not in self.match.failed:
            logger.warning("%s cannot be changed: %s", self.target.name, reason)
        self.match.failed.add(self.target.name)


@dataclass(frozen=True)
class WeightSum:
    """The change of a weight by several networks."""

    parts: tuple[Part, ...]

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the weight (float32) with all that is added to it. Takes its memory."""
        original = (
            weight.clone() if len(self.parts) > 1 and any(p.adapter.depends_on_weight for p in self.parts) else weight
        )
        for part in self.parts:
            part.compute(part.adapter.add_to, weight, original, part.strength, part.rank)
        return weight


@dataclass(frozen=True)
class BiasSum:
    """The change of a bias by several networks."""

    parts: tuple[Part, ...]

    def __call__(self, bias: torch.Tensor) -> torch.Tensor:
        """Returns the bias (float32) with all that is added to it. Takes its memory."""
        for part in self.parts:
            change = part.compute(part.adapter.bias_change, bias)
            if change is not None:
                bias += change * part.strength
        return bias


@dataclass(frozen=True)
class Networks:
    """The patch of the networks that are active, equal to that of the same networks at the same strengths.

    functional: they act beside the layers while these compute, and weights stay as they are: slower, but the model need
    not be changed. So they do in any case where weights are stored in blocks, which cannot be changed.
    """

    active: tuple[ActiveNetwork, ...]
    functional: bool = False

    def __call__(self, model: Any) -> WeightPatch | AbstractContextManager[None]:
        """Returns what changes a model (WebuiSdModel)."""
        parts = self.parts(model)
        is_beside = self.functional or any(quantized.is_in_blocks(layer.weight.parameter) for layer in parts)
        return beside_layers(parts) if is_beside else WeightPatch(changes_of(parts))

    def parts(self, model: Any) -> dict[ModelLayer, tuple[Part, ...]]:
        """Returns what is added to which layer of a model (WebuiSdModel). What has no strength adds nothing."""
        parts: dict[ModelLayer, tuple[Part, ...]] = {}
        for network in self.active:
            match = match_of(model, network.file)
            for target in match.targets:
                strength = network.strength(target.layer)
                if strength:
                    part = Part(target.adapter, strength, network.rank, target, match)
                    parts[target.layer] = (*parts.get(target.layer, ()), part)
        return parts

    def text_key(self, model: Any) -> tuple[Any, ...]:
        """Returns what the text that a model (WebuiSdModel) encodes depends on."""
        return tuple(
            (network.file, network.text, network.rank)
            for network in self.active
            if network.file.bundled or any(target.layer.is_text for target in match_of(model, network.file).targets)
        )

    def remarks(self, model: Any) -> list[str]:
        """Returns what is to be said of the networks on a model (WebuiSdModel)."""
        of_each = {network.name: (network.file, match_of(model, network.file)) for network in self.active}
        found = [remark for name, (file, match) in of_each.items() for remark in remarks_on(name, file, match, model)]
        failed = [f"{name} ({len(match.failed)})" for name, (_, match) in of_each.items() if match.failed]
        return [*found, f"Networks with errors: {', '.join(failed)}"] if failed else found


def changes_of(parts: dict[ModelLayer, tuple[Part, ...]]) -> dict[WeightPlace, Change]:
    """Returns what becomes of which weight."""
    changes: dict[WeightPlace, Change] = {}
    for layer, of_layer in parts.items():
        weights = tuple(part for part in of_layer if part.adapter.changes_weight)
        biases = tuple(part for part in of_layer if part.adapter.changes_bias)
        if weights:
            changes[layer.weight] = WeightSum(weights)
        if biases and layer.bias is not None:
            changes[layer.bias] = BiasSum(biases)
        for part in biases if layer.bias is None else ():
            part.note_failure("a bias is added, and it has none; beside the layers (lora_functional) it can be")
    return changes


@contextmanager
def beside_layers(parts: dict[ModelLayer, tuple[Part, ...]]) -> Iterator[None]:
    """Adds what networks add to the outputs of layers, inside the block."""
    with ExitStack() as stack:
        for layer, of_layer in parts.items():
            stack.callback(layer.module.register_forward_hook(adding(layer, of_layer)).remove)
        yield


def adding(layer: ModelLayer, parts: tuple[Part, ...]) -> Callable[..., torch.Tensor]:
    """Returns the forward hook of a layer that adds what networks add to its output."""
    operation = operation_of(layer.module)

    def add(module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        """Returns the output with what is added."""
        for part in parts:
            added = part.compute(part.adapter.output, operation, args[0], layer.weight.values, part.strength, part.rank)
            if added is not None:
                output = output + added
        return output

    return add


def operation_of(module: nn.Module) -> Operation:
    """Returns what a layer computes, as a function of input, weight and bias."""
    if isinstance(module, nn.Conv2d):
        return module._conv_forward
    if isinstance(module, nn.GroupNorm):
        return lambda x, weight, bias: F.group_norm(x, module.num_groups, weight, bias, module.eps)
    if isinstance(module, nn.LayerNorm):
        return lambda x, weight, bias: F.layer_norm(x, module.normalized_shape, weight, bias, module.eps)
    return F.linear
