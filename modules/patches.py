"""base: replaces attributes of other people's objects in a way that can be found and undone. Used by extensions."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

# key -> (object, attribute) -> what was there before.
originals: defaultdict[Any, dict[tuple[Any, str], Any]] = defaultdict(dict)


def patch(key: Any, obj: Any, field: str, replacement: Any) -> Any:
    """Sets obj.field to replacement and returns what it was; key names the one who patches, usually __name__.

    Raises RuntimeError if key has patched this attribute already.
    """
    if (obj, field) in originals[key]:
        raise RuntimeError(f"{field} of {obj} is already patched by {key}: undo it first")

    original_value = getattr(obj, field)
    originals[key][(obj, field)] = original_value
    setattr(obj, field, replacement)
    return original_value


def undo(key: Any, obj: Any, field: str) -> None:
    """Puts back what patch replaced. Raises RuntimeError if key has not patched this attribute."""
    if (obj, field) not in originals[key]:
        raise RuntimeError(f"{field} of {obj} is not patched by {key}")

    setattr(obj, field, originals[key].pop((obj, field)))


def original(key: Any, obj: Any, field: str) -> Any:
    """Returns what patch replaced; None if key has not patched this attribute."""
    return originals[key].get((obj, field))
