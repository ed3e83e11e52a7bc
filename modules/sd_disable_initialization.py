"""engine: making networks without filling their weights, for those who load weights right after."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class ReplaceHelper:
    """Puts functions in the place of others, and takes them back. replaced: (object, name, what was there)."""

    def __init__(self) -> None:
        self.replaced: list[tuple[Any, str, Any]] = []

    def replace(self, obj: Any, field: str, func: Any) -> Any:
        """Puts func in the place of an attribute; returns what was there, None if there was nothing, and nothing is
        put there.
        """
        original = getattr(obj, field, None)
        if original is not None:
            self.replaced.append((obj, field, original))
            setattr(obj, field, func)
        return original

    def restore(self) -> None:
        """Takes everything back, the last first."""
        while self.replaced:
            obj, field, original = self.replaced.pop()
            setattr(obj, field, original)


class Entered(ReplaceHelper):
    """A context: `contexts` are what is entered with it."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts = contextlib.ExitStack()

    def __enter__(self) -> None:
        """Begins."""

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends, with everything as it was before."""
        self.restore()
        self.contexts.close()


class DisableInitialization(Entered):
    """While entered, layers of torch and networks of transformers are made without their first weights: these are
    whatever the memory holds.

    disable_clip: has no effect, nothing here fetches CLIP.
    """

    def __init__(self, disable_clip: bool = True):
        super().__init__()
        self.disable_clip = disable_clip

    def __enter__(self) -> None:
        """Begins."""
        from transformers.initialization import no_init_weights

        self.contexts.enter_context(no_init_weights())


FILLING = frozenset(fill for name, fill in vars(torch.nn.init).items() if name.endswith("_") and callable(fill))
"""The functions that give weights their first values."""


class LeaveUnfilled(TorchFunctionMode):
    """While entered, weights get no first values in this thread: for those that have no memory it would do nothing, and
    takes a quarter of the time in which a network is made.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls a function of torch, unless it fills a weight: that is returned as it is."""
        if func in FILLING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


class InitializeOnMeta(Entered):
    """While entered, modules are made on the meta device in this thread, without any memory and without first values.
    No random numbers are drawn.
    """

    def __enter__(self) -> None:
        """Begins."""
        self.contexts.enter_context(torch.device("meta"))
        self.contexts.enter_context(LeaveUnfilled())


class LoadStateDictOnMeta(Entered):
    """While entered, `load_state_dict` fills modules on the meta device: weights that are missing there are taken as
    they are given, on a device.

    state_dict: of the whole model; weights leave it when they are loaded. weight_dtype_conversion: first part of a key
    -> type, "" for all others; None leaves types as they are.
    """

    def __init__(
        self,
        state_dict: dict[str, torch.Tensor],
        device: torch.device | str,
        weight_dtype_conversion: Mapping[str, torch.dtype] | None = None,
    ):
        super().__init__()
        self.state_dict = state_dict
        self.device = device
        self.weight_dtype_conversion = weight_dtype_conversion or {}
        self.default_dtype = self.weight_dtype_conversion.get("")

    def get_weight_dtype(self, key: str) -> torch.dtype | None:
        """Returns the type a weight is to have; None: the one it has."""
        return self.weight_dtype_conversion.get(key.partition(".")[0], self.default_dtype)

    def __enter__(self) -> None:
        """Begins."""
        original: Callable[..., None] = torch.nn.Module._load_from_state_dict

        def load(module: torch.nn.Module, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
            """Gives a module memory for those of its weights that are on the meta device and are given."""
            for name, parameter in [*module._parameters.items(), *module._buffers.items()]:
                given = state_dict.get(prefix + name) if parameter is not None and parameter.is_meta else None
                if given is None:
                    continue
                dtype = self.get_weight_dtype(prefix + name) or given.dtype
                empty = torch.empty_like(parameter, device=self.device, dtype=dtype)
                is_parameter = name in module._parameters
                setattr(module, name, torch.nn.Parameter(empty, parameter.requires_grad) if is_parameter else empty)
            original(module, state_dict, prefix, *args)
            for name in (*module._parameters, *module._buffers):
                self.state_dict.pop(prefix + name, None)

        self.replace(torch.nn.Module, "_load_from_state_dict", load)
