"""face: how much one request may ask for: a range for every number in it. The settings api_max_* change the larger
ones.
"""

from __future__ import annotations

import math

from pydantic import BaseModel

from modules import bounds, shared
from modules.errors import InvalidInput
from modules.job import hires
from modules.job.request import SANE, Img2ImgFields, Txt2ImgFields, facts

ANY_NUMBER = (-SANE, SANE)

RANGES: dict[str, tuple[int, int | str]] = facts(Txt2ImgFields, "limits") | facts(Img2ImgFields, "limits")
"""Request field -> (smallest value, largest or the setting that holds it)."""

TEXTS = ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt")
"""Request fields that are encoded; their tokens are counted where the model is."""

NULL_HAS_A_MEANING = ("resize_mode", "inpainting_fill")
"""Numbers whose null is, as any value not in their list, one more choice."""


def replace_nulls(request: BaseModel) -> None:
    """Fields that have a default take it for null, as if they had been left out. Null stays where it is the default,
    and for a flag, where it says no.
    """
    for name, field in type(request).model_fields.items():
        is_open = field.default is None or isinstance(field.default, bool) or name in NULL_HAS_A_MEANING
        if not is_open and getattr(request, name) is None:
            setattr(request, name, field.default)


def check(request: BaseModel) -> None:
    """Raises InvalidInput, naming field and range, for the first number out of range. What only the hires pass reads
    may be anything without one.
    """
    has_hires_pass = getattr(request, "enable_hr", True)
    for name in type(request).model_fields:
        value = getattr(request, name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            is_read = has_hires_pass or not name.startswith(("hr_", "denoising_strength"))
            _check_number(name, value, RANGES.get(name, ANY_NUMBER) if is_read else ANY_NUMBER)
    limits = bounds.current()
    limits.check_images(getattr(request, "batch_size", 1) * getattr(request, "n_iter", 1), "n_iter")
    for name in TEXTS:
        limits.check_length(getattr(request, name, None) or "", name)
    if getattr(request, "enable_hr", False):
        hires.check_size(request, shared.opts.api_max_size)


def _check_number(field: str, value: float, limits: tuple[int, int | str]) -> None:
    low, high = limits
    largest = getattr(shared.opts, high) if isinstance(high, str) else high
    if math.isfinite(value) and low <= value <= largest:
        return
    hint = f" (the setting {high} changes the upper end)" if isinstance(high, str) else ""
    raise InvalidInput(f"{field} is {value}, but must be from {low} to {largest}{hint}", field=field)
