"""face: field types that take what clients of the API have always sent: 6.7 or "6" for an integer, a number for a text,
[] for an empty map.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from modules import util


def to_int(value: Any) -> Any:
    """Numbers lose their fraction; everything else is left to the strict check that follows."""
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    return value


def to_str(value: Any) -> Any:
    """Numbers become text; lists and maps don't. Half a pair of surrogates, which JSON can hold and no file, becomes a
    question mark.
    """
    if isinstance(value, str) and not value.isascii():
        return util.sendable(value)
    return str(value) if isinstance(value, int | float) else value


def to_dict(value: Any) -> Any:
    """Takes an empty list for an empty map, as any list of pairs."""
    if isinstance(value, list):
        try:
            return dict(value)
        except (TypeError, ValueError):
            return value
    return value


LaxInt = Annotated[int, BeforeValidator(to_int), WithJsonSchema({"type": "integer"})]
LaxStr = Annotated[str, BeforeValidator(to_str), WithJsonSchema({"type": "string"})]
LaxDict = Annotated[
    dict[str, Any], BeforeValidator(to_dict), WithJsonSchema({"type": "object", "additionalProperties": True})
]
