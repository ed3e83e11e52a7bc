"""engine: the table of backends, which compute a network in the place of torch's eager mode, and what calls them.

A backend is a row of BACKENDS, chosen by a flag; none is used by default. A network is called through it as long as it
is what the program made of it: extensions that put a `forward` or a hook of their own into it get the network as it is,
which is said once.
"""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from modules import sd_hijack_unet, shared
from modules.backends.base import Backend, Compiled, Unavailable, layers_of
from modules.backends.openvino import OpenVino
from modules.backends.torch_compile import TorchCompile
from modules.sd_hijack_optimizations import AttentionProcessor

logger = logging.getLogger(__name__)

BACKENDS: dict[str, Callable[[], Backend]] = {"openvino": OpenVino, "torch.compile": TorchCompile}
"""Name -> what makes it, which may take long or raise Unavailable."""


def chosen(device: torch.device) -> str | None:
    """Returns the name of the backend that the flags choose for networks on a device, None for torch's eager mode."""
    flags = shared.cmd_opts
    if flags.cpu_backend and device.type == "cpu":
        return flags.cpu_backend
    return "torch.compile" if flags.torch_compile else None


class Runner:
    """Calls a network through the backend that the flags choose.

    title: of the backend that has computed the last call, None if torch did by itself.
    """

    def __init__(self) -> None:
        self.title: str | None = None
        self._network: nn.Module | None = None
        self._compiled: Compiled | None = None
        self._said: set[str] = set()
        self._failed: dict[Any, str] = {}

    def of(self, network: nn.Module, device: torch.device) -> Callable[..., Any]:
        """Returns what computes a network whose inputs are on a device: without a backend the network itself."""
        name = chosen(device)
        if name is None:
            self.title = None
            return network
        return partial(self._run, network, name)

    def _run(self, network: nn.Module, name: str, *args: Any, **kwargs: Any) -> Any:
        """Returns what a network makes of its arguments."""
        if network is not self._network:
            self._begin(network, name)
        if self._compiled is None:
            return network(*args, **kwargs)
        shapes = tuple(tuple(given.shape) for given in (*args, *kwargs.values()) if isinstance(given, torch.Tensor))
        reason = self._failed.get(shapes) or changed_by(network)
        if reason is None:
            try:
                output = self._compiled(*args, **kwargs)
            except torch.OutOfMemoryError:
                raise
            except (Unavailable, RuntimeError) as e:
                reason = self._failed[shapes] = textwrap.shorten(str(e), LONGEST_REASON)
            else:
                self.title = self._compiled.title
                return output
        self._say(f"{self._compiled.title} is not used, torch computes by itself: {reason}")
        self.title = None
        with self._compiled.left_out():
            return network(*args, **kwargs)

    def prepare(self, network: nn.Module, device: torch.device) -> Iterator[None]:
        """Does ahead of the next calls what the backend can foresee of them, a part before each yield.

        What goes wrong is for the calls to say.
        """
        name = chosen(device)
        if name is None:
            return
        if network is not self._network:
            self._begin(network, name)
        if self._compiled is None or changed_by(network) is not None:
            return
        try:
            yield from self._compiled.prepare()
        except (Unavailable, RuntimeError) as e:
            logger.debug("%s: nothing is prepared: %s", name, e)

    def forget(self) -> None:
        """Gives back memory of a backend's own, for a network that is not needed for now."""
        if self._compiled is not None:
            self._compiled.forget()

    def _begin(self, network: nn.Module, name: str) -> None:
        self._network, self._compiled, self.title = network, None, None
        self._failed.clear()
        try:
            self._compiled = BACKENDS[name]().compile(network)
        except Unavailable as e:
            self._say(f"{name} cannot be used, torch computes by itself: {e}")

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)


LONGEST_REASON = 300
"""Characters of what a library says that are shown."""

OURS = ("torch", "diffusers", "transformers", "ldm", "sgm", "modules")
"""Packages whose code a backend may take for what a layer does."""


def changed_by(network: nn.Module) -> str | None:
    """Returns what was put into a network that a backend would not see, None if there is nothing."""
    layers = layers_of(network)
    for layer in layers:
        own = vars(layer)
        if own["_forward_pre_hooks"] or own["_forward_hooks"]:
            for hook in (*layer._forward_pre_hooks.values(), *layer._forward_hooks.values()):
                if getattr(hook, "__func__", None) is not AttentionProcessor.begin_pass:
                    return f"{type(layer).__name__} has a hook ({described(hook)})"
        for name in CALLED:
            if name in own:
                return f"a {type(layer).__name__} has another {name} ({described(own[name])})"
        if own.get("padding_mode", "zeros") != "zeros":
            return "seamless images need other edges"
    if sd_hijack_unet.is_replaced():
        return "an extension joins the skips of the U-Net in its own way"
    for kind in {type(layer) for layer in layers}:
        for name in CALLED:
            function = getattr(kind, name, None)
            if function is not None and not is_ours(function):
                return f"{kind.__name__} has another {name} ({described(function)})"
    return None


CALLED = ("forward", "_forward", "_conv_forward")
"""Names of what computes in a layer."""


def is_ours(function: Any) -> bool:
    """Says whether a function is of code that a backend may take for what a layer does."""
    return str(getattr(function, "__module__", None)).partition(".")[0] in OURS


def described(function: Any) -> str:
    """Returns a name by which a function is found."""
    named = getattr(function, "__func__", function)
    return f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', type(named).__name__)}"
