"""engine: the table of backends, which compute a network in the place of torch's eager mode, and what calls them.

A backend is a row of BACKENDS, chosen by a flag; none is used by default. A network is called through it as long as it
is what the program made of it: extensions that put a `forward` or a hook of their own into it get the network as it is,
which is said once. Without a backend, such a network computes in torch's inference mode on a CPU.
"""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from modules import prompt_keys, shared
from modules.backends.base import Backend, Compiled, Unavailable
from modules.backends.openvino import OpenVino
from modules.backends.torch_compile import TorchCompile
from modules.untouched import Watch

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
        self._watch: Watch | None = None
        self._backend: str | None = None
        self._compiled: Compiled | None = None
        self._said: set[str] = set()
        self._failed: dict[Any, str] = {}
        self._is_forgotten = False

    def of(self, network: nn.Module, device: torch.device) -> Callable[..., Any]:
        """Returns what computes a network whose inputs are on a device: without a backend mostly the network itself."""
        name = chosen(device)
        if name is not None:
            return partial(self._run, network, name)
        self.title = None
        is_untouched = device.type == "cpu" and self._known(network, None).change() is None
        return partial(inferred, network) if is_untouched else network

    def _run(self, network: nn.Module, name: str, *args: Any, **kwargs: Any) -> Any:
        """Returns what a network makes of its arguments."""
        change = self._known(network, name).change()
        if self._compiled is None:
            return network(*args, **kwargs)
        shapes = tuple(tuple(given.shape) for given in (*args, *kwargs.values()) if isinstance(given, torch.Tensor))
        reason = self._failed.get(shapes) or change
        if reason is None:
            try:
                output = self._compiled(*args, **kwargs)
            except torch.OutOfMemoryError:
                raise
            except (Unavailable, RuntimeError, ValueError) as e:
                reason = self._failed[shapes] = textwrap.shorten(str(e), LONGEST_REASON)
            else:
                self.title = self._compiled.title
                return output
        self._say(f"{self._compiled.title} is not used, torch computes by itself: {reason}")
        self.title = None
        with self._compiled.left_out():
            return network(*args, **kwargs)

    def prepare(self, network: nn.Module, device: torch.device) -> Iterator[None]:
        """Does ahead of the next calls what the backend can foresee of them, a part before each yield, and nothing if
        the network is not needed any more when that begins.

        What goes wrong is for the calls to say.
        """
        self._is_forgotten = False
        return self._prepared(network, device)

    def _prepared(self, network: nn.Module, device: torch.device) -> Iterator[None]:
        """Does what `prepare` says."""
        name = chosen(device)
        if name is None or self._is_forgotten:
            return
        change = self._known(network, name).change()
        if self._compiled is None or change is not None:
            return
        try:
            yield from self._compiled.prepare()
        except (Unavailable, RuntimeError) as e:
            logger.debug("%s: nothing is prepared: %s", name, e)

    def forget(self) -> None:
        """Gives back memory of a backend's own, for a network that is not needed for now."""
        self._is_forgotten = True
        if self._compiled is not None:
            self._compiled.forget()

    def _known(self, network: nn.Module, name: str | None) -> Watch:
        """Returns what watches a network. One that was not called before, or by another backend, is compiled first."""
        if self._watch is not None and network is self._watch.network and name == self._backend:
            return self._watch
        self._watch, self._backend = Watch(network), name
        self._compiled = self.title = None
        self._failed.clear()
        try:
            self._compiled = None if name is None else BACKENDS[name]().compile(network)
        except Unavailable as e:
            self._say(f"{name} cannot be used, torch computes by itself: {e}")
        return self._watch

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)


def inferred(network: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Returns what an untouched network makes of its arguments on a CPU, one tensor or several.

    It uses what the job keeps of its prompts, and torch's inference mode, which counts no changes of tensors: a
    thousand small operations feel that. What it returns is a tensor like any other. Where gradients are wanted they are
    to be had.
    """
    if torch.is_grad_enabled():
        return network(*args, **kwargs)
    with torch.inference_mode(), prompt_keys.used():
        output = network(*args, **kwargs)
    return output.clone() if isinstance(output, torch.Tensor) else tuple(part.clone() for part in output)


LONGEST_REASON = 300
"""Characters of what a library says that are shown."""
