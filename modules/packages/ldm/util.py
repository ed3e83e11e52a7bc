"""engine: `ldm.util`: helpers of the original code."""

from __future__ import annotations

import importlib
from typing import Any


def exists(value: Any) -> bool:
    """Returns whether a value is there."""
    return value is not None


def default(value: Any, other: Any) -> Any:
    """Returns a value, or the other one if it is not there; a function is called for it."""
    if value is not None:
        return value
    return other() if callable(other) else other


def get_obj_from_str(name: str) -> Any:
    """Returns what a dotted name stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def instantiate_from_config(config: Any) -> Any:
    """Makes what a description says: `target`, a dotted name, called with `params`."""
    return get_obj_from_str(config["target"])(**config.get("params", {}))
