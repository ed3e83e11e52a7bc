"""engine: whether a network is still what the program made of it, asked at each of its calls.

What knows a network by its layers alone, a backend that compiles it for one, must not compute it where an extension has
put a `forward` or a hook of its own into it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from operator import itemgetter
from typing import Any

from torch import nn

from modules import cpu_layers, sd_hijack_unet
from modules.sd_hijack_optimizations import AttentionProcessor

OURS = ("torch", "diffusers", "transformers", "ldm", "sgm", "modules")
"""Packages whose code may be taken for what a layer does."""

CALLED = ("forward", "_forward", "_conv_forward")
"""Names of what computes in a layer."""

ZEROS = (None, "zeros")
"""Edges of a layer that has none, and of a convolution as it was made."""


def layers_of(network: nn.Module) -> list[nn.Module]:
    """Returns a network and all layers in it, in an order that stays: `modules()`, in a fifth of its time. What is in
    several places is there as often.
    """
    layers = [network]
    for layer in layers:  # which grows meanwhile
        layers.extend(part for part in layer._modules.values() if part is not None)
    return layers


class Watch:
    """What was put into a network, known at each of its calls.

    A look at all layers of a U-Net takes 2 ms. What it found counts as long as the facts that decide it are the same,
    which are read in a quarter of that: loops in C over what belongs to each layer.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self._take_down()

    def change(self) -> str | None:
        """Returns what was put into the network, None if there is nothing."""
        if self._held() != self._holders or self._facts() != self._seen:
            self._take_down()
        return self._change

    def _take_down(self) -> None:
        """Looks at all layers, and notes by which facts it is seen that they are the same."""
        layers = layers_of(self.network)
        self._layers = layers
        self._attributes = [vars(layer) for layer in layers]
        self._holders = self._held()
        self._hooks = [hooks for _, *both in self._holders for hooks in both]
        self._parts = [parts for parts, *_ in self._holders if parts]
        self._padded = [own for own in self._attributes if "padding_mode" in own]
        self._attending = [own for own in self._attributes if "processor" in own]
        self._kinds = list({type(layer): None for layer in layers})
        self._change = changed_by(layers)
        self._seen = self._facts()

    def _held(self) -> list[tuple[dict[str, Any], ...]]:
        """Returns what holds the parts and the hooks of each layer."""
        return list(map(itemgetter("_modules", *HOOKS), self._attributes))

    def _facts(self) -> list[Any]:
        """Returns what is in there, and all else that `changed_by` looks at."""
        return [
            list(map(len, self._attributes)),
            [name in own for own in self._attributes for name in CALLED],
            list(map(type, self._layers)),
            list(chain.from_iterable(map(dict.values, self._parts))),
            [hook for hooks in filter(None, self._hooks) for hook in hooks.values()],
            [own.get("padding_mode") for own in self._padded],
            [own.get("processor") for own in self._attending],
            [getattr(kind, name, None) for kind in self._kinds for name in CALLED],
            around(),
        ]


HOOKS = ("_forward_pre_hooks", "_forward_hooks")
"""Attributes of a layer that hold what is called before and after it."""


def around() -> str | None:
    """Returns what was put around all networks, None if there is nothing."""
    if sd_hijack_unet.is_replaced():
        return "an extension joins the skips of the U-Net in its own way"
    if cpu_layers.has_hooks_on_all():
        return "an extension has a hook on all layers there are"
    return None


def changed_by(layers: Iterable[nn.Module]) -> str | None:
    """Returns what was put into a network of these layers, or around all, None if there is nothing."""
    for layer in layers:
        own, kind = vars(layer), type(layer).__name__
        for hook in chain.from_iterable(own[name].values() for name in HOOKS):
            if getattr(hook, "__func__", None) is not AttentionProcessor.begin_pass:
                return f"{kind} has a hook ({described(hook)})"
        for name, value in own.items():
            if name in CALLED or (callable(value) and name != "processor" and not is_ours(value)):
                return f"a {kind} has another {name} ({described(value)})"
        if own.get("padding_mode") not in ZEROS:
            return "seamless images need other edges"
        processor = type(own.get("processor"))
        if processor.__name__ not in PROCESSORS or not is_ours(processor):
            return f"a {kind} has another processor ({described(processor)})"
    for kind in {type(layer) for layer in layers}:
        if not is_ours(kind):
            return f"there is a layer of another kind ({described(kind)})"
        for name in CALLED:
            function = getattr(kind, name, None)
            if function is not None and not is_ours(function):
                return f"{kind.__name__} has another {name} ({described(function)})"
    return around()


PROCESSORS = ("NoneType", AttentionProcessor.__name__, "JointAttnProcessor2_0")
"""Classes of what computes attention in the networks that the program makes."""


def is_ours(function: Any) -> bool:
    """Says whether a function or class is of code that may be taken for what a layer does."""
    return str(getattr(function, "__module__", None)).partition(".")[0] in (*OURS, "builtins")


def described(function: Any) -> str:
    """Returns a name by which a function is found."""
    named = getattr(function, "__func__", function)
    return f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', type(named).__name__)}"
