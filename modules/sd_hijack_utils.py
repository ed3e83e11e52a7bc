"""engine: a function that stands in for another under a condition."""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Callable
from typing import Any


def always_true_func(*args: Any, **kwargs: Any) -> bool:
    """Returns True, whatever it is given."""
    return True


def CondFunc(
    orig_func: Callable[..., Any] | str,
    sub_func: Callable[..., Any],
    cond_func: Callable[..., bool] | None = always_true_func,
) -> Callable[..., Any]:
    """Returns a function that calls sub_func(original, ...) while cond_func(original, ...) is true, else the original.

    orig_func: the original, or its dotted name, "package.module.Class.method"; under a name the result also takes its
    place. The original stays there as `__wrapped__`. Raises ModuleNotFoundError or AttributeError for a name that
    leads nowhere.
    """
    owner, name = None, ""
    if isinstance(orig_func, str):
        owner_name, _, name = orig_func.rpartition(".")
        owner = pkgutil.resolve_name(owner_name)
        orig_func = getattr(owner, name)
    original = orig_func

    @functools.wraps(original)
    def conditional(*args: Any, **kwargs: Any) -> Any:
        """Calls the one function or the other."""
        if cond_func is None or cond_func(original, *args, **kwargs):
            return sub_func(original, *args, **kwargs)
        return original(*args, **kwargs)

    if owner is not None:
        setattr(owner, name, conditional)
    return conditional
