"""face: how much one request may ask for. The settings api_max_* change it."""

from __future__ import annotations

from typing import Any

from modules import shared
from modules.errors import InvalidInput

LIMITS = {
    "width": (8, "api_max_size"),
    "height": (8, "api_max_size"),
    "steps": (1, "api_max_steps"),
    "batch_size": (1, "api_max_batch_size"),
    "n_iter": (1, "api_max_n_iter"),
}
"""Request field -> (smallest value, setting that holds the largest)."""

OPTIONAL_LIMITS = {
    "hr_resize_x": "api_max_size",
    "hr_resize_y": "api_max_size",
    "hr_second_pass_steps": "api_max_steps",
}
"""The same for fields whose 0 means "not asked for"."""


def check(request: Any) -> None:
    """Raises InvalidInput, naming field and range, for the first value out of range."""
    for field, (low, setting) in LIMITS.items():
        _check_value(field, getattr(request, field), low, getattr(shared.opts, setting), setting)
    for field, setting in OPTIONAL_LIMITS.items():
        _check_value(field, getattr(request, field, 0), 0, getattr(shared.opts, setting), setting)
    if getattr(request, "enable_hr", False) and not (request.hr_resize_x or request.hr_resize_y):
        largest = max(request.width, request.height) * request.hr_scale
        _check_value("hr_scale", largest, 8, shared.opts.api_max_size, "api_max_size")
    strength = getattr(request, "denoising_strength", None)
    if strength is not None and not strength >= 0:
        raise InvalidInput(f"denoising_strength is {strength}, but must not be below 0", field="denoising_strength")


def _check_value(field: str, value: float | None, low: int, high: int, setting: str) -> None:
    if value is None:
        raise InvalidInput(f"{field} is missing: give a number from {low} to {high}", field=field)
    if not low <= value <= high:
        raise InvalidInput(
            f"{field} is {value:g}, but must be from {low} to {high} (the setting {setting} changes the upper end)",
            field=field,
        )
