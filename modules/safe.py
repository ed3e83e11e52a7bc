"""state: reads pickled tensors (.ckpt, .pt, .pth, .bin) without running code that somebody put into the file."""

from __future__ import annotations

import _codecs
import collections
import errno
import os
import pickle
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, BinaryIO

import numpy
import torch

from modules.errors import ModelLoadError
from modules.shared_cmd_options import cmd_opts

ExtraHandler = Callable[[str, str], Any]
"""(module, name) of a class or function a file mentions -> the object, if the caller trusts it, else None."""


class Placeholder:
    """Stands for classes of training programs that checkpoints mention and nobody needs; it can do nothing."""


SAFE_GLOBALS: list[Any] = [
    _codecs.encode,
    collections.OrderedDict,
    numpy.dtype,
    numpy.ndarray,
    (numpy._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    (numpy._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    numpy._core.multiarray.scalar,
    numpy._core.multiarray._reconstruct,
    *(type(numpy.dtype(name)) for name in ("bool", "int32", "int64", "uint8", "float16", "float32", "float64")),
    torch.nn.ParameterDict,
    (Placeholder, "pytorch_lightning.callbacks.ModelCheckpoint"),
    (Placeholder, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"),
]
"""What a file may mention besides what torch allows: harmless parts of checkpoints and embeddings that are around."""

DAMAGE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    struct.error,
)
"""What torch raises for files it cannot read; found by changing bytes of good ones."""

_extra_handler: ContextVar[ExtraHandler | None] = ContextVar("extra_handler", default=None)


def load(filename: str | os.PathLike[str] | BinaryIO, *args: Any, **kwargs: Any) -> Any:
    """As torch.load, for files with tensors, numbers, texts, lists and dictionaries only.

    Raises ModelLoadError for a file that mentions anything else, or is damaged. --disable-safe-unpickle loads anything.
    """
    return load_with_extra(filename, _extra_handler.get(), *args, **kwargs)


def load_with_extra(
    filename: str | os.PathLike[str] | BinaryIO, extra_handler: ExtraHandler | None = None, *args: Any, **kwargs: Any
) -> Any:
    """As load, with more classes and functions allowed: those that extra_handler returns an object for."""
    if cmd_opts.disable_safe_unpickle:
        return unsafe_torch_load(filename, *args, **kwargs)
    try:
        with torch.serialization.safe_globals([*SAFE_GLOBALS, *_extra_globals(filename, extra_handler)]):
            return torch.load(filename, *args, **{**kwargs, "weights_only": True})
    except DAMAGE as e:
        raise ModelLoadError(_explain(filename, str(e))) from e
    except OSError as e:
        if e.errno != errno.EINVAL:  # a place before the beginning of the file
            raise
        raise ModelLoadError(_explain(filename, str(e))) from e


def unsafe_torch_load(*args: Any, **kwargs: Any) -> Any:
    """Does what torch.load does, without any check: the file can run code."""
    return torch.load(*args, **{"weights_only": False, **kwargs})


def check_pt(filename: str, extra_handler: ExtraHandler | None = None) -> None:
    """Raises ModelLoadError unless load would take the file."""
    load_with_extra(filename, extra_handler, map_location="meta")


@contextmanager
def Extra(handler: ExtraHandler) -> Iterator[None]:
    """Lets load allow, inside the block, what handler returns an object for.

    Example:
        with safe.Extra(lambda module, name: MyConfig if (module, name) == ("my_trainer", "Config") else None):
            weights = safe.load("model.pt")
    """
    token = _extra_handler.set(handler)
    try:
        yield
    finally:
        _extra_handler.reset(token)


def _extra_globals(filename: Any, extra_handler: ExtraHandler | None) -> list[tuple[Any, str]]:
    if extra_handler is None:
        return []
    mentioned = torch.serialization.get_unsafe_globals_in_checkpoint(filename)
    found = [(extra_handler(*name.rpartition(".")[::2]), name) for name in mentioned]
    return [(value, name) for value, name in found if value is not None]


def _explain(filename: Any, torch_message: str) -> str:
    name = os.fspath(filename) if isinstance(filename, (str, os.PathLike)) else "the file"
    refused = re.search(r"GLOBAL (\S+)", torch_message)
    if refused:
        return (
            f"{name} is not loaded: it mentions {refused[1]}, so loading it could run code. If you trust where it "
            "comes from, convert it to .safetensors or start once with --disable-safe-unpickle."
        )
    reason = " ".join(torch_message.partition(". ")[0].split())
    return f"{name} is damaged, or not a file of tensors. torch says: {reason or 'it is empty'}."
