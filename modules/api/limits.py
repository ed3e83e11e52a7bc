"""face: how much one request may ask for: a range for every number in it. The settings api_max_* change the larger
ones.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel

from modules import shared
from modules.errors import InvalidInput

SANE = 1_000_000
"""Largest amount of a number that has no range of its own; far beyond any use, but no overflow either."""

ANY_NUMBER = (-SANE, SANE)

RANGES: dict[str, tuple[int, int | str]] = {
    "width": (8, "api_max_size"),
    "height": (8, "api_max_size"),
    "steps": (1, "api_max_steps"),
    "batch_size": (1, "api_max_batch_size"),
    "n_iter": (1, "api_max_n_iter"),
    "denoising_strength": (0, SANE),
    "firstphase_width": (0, "api_max_size"),
    "firstphase_height": (0, "api_max_size"),
    "hr_scale": (0, SANE),
    "hr_resize_x": (0, "api_max_size"),
    "hr_resize_y": (0, "api_max_size"),
    "hr_second_pass_steps": (0, "api_max_steps"),
    "mask_blur": (-SANE, "api_max_size"),
    "mask_blur_x": (-SANE, "api_max_size"),
    "mask_blur_y": (-SANE, "api_max_size"),
    "seed_resize_from_h": (-SANE, "api_max_size"),
    "seed_resize_from_w": (-SANE, "api_max_size"),
    "seed": (-(2**63), 2**64 - 1),
    "subseed": (-(2**63), 2**64 - 1),
}
"""Request field -> (smallest value, largest or the setting that holds it)."""

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
    if getattr(request, "enable_hr", False):
        _check_hires_size(request)


def _check_number(field: str, value: float, limits: tuple[int, int | str]) -> None:
    low, high = limits
    largest = getattr(shared.opts, high) if isinstance(high, str) else high
    if math.isfinite(value) and low <= value <= largest:
        return
    hint = f" (the setting {high} changes the upper end)" if isinstance(high, str) else ""
    raise InvalidInput(f"{field} is {value}, but must be from {low} to {largest}{hint}", field=field)


def _check_hires_size(request: Any) -> None:
    """A size that follows from the first pass; one that is asked for has a range."""
    if request.hr_resize_x and request.hr_resize_y:
        return
    if request.hr_resize_x or request.hr_resize_y:
        scale = max(request.hr_resize_x / request.width, request.hr_resize_y / request.height)
    else:
        scale = request.hr_scale
    largest = max(request.width, request.height) * scale
    if largest > shared.opts.api_max_size:
        raise InvalidInput(
            f"The hires pass would be {largest:.0f} pixels long, but at most {shared.opts.api_max_size} are allowed "
            "(the setting api_max_size changes it)",
            field="hr_scale",
        )
