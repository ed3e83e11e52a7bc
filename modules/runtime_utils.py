"""job: lays the settings a job overrides over the user's for as long as the job runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from PIL import ImageColor
from pydantic import TypeAdapter, ValidationError

from modules import shared
from modules.errors import InvalidInput


@contextmanager
def temporary_opts(overrides: Mapping[str, Any] | None, restore_afterwards: bool = True) -> Iterator[None]:
    """Gives settings other values inside the block; afterwards, also after an exception, all are as they were.

    Only this context (the thread of the job) sees the values, and the previews made of its latents obey them. Settings
    that are hidden, restricted, or closed to the API are left as they are. With restore_afterwards False the values
    become the user's, in memory, and stay.

    Raises InvalidInput for a setting that does not exist, or that a --freeze-settings flag locks, and for a value the
    setting cannot have (`checked_value`).
    """
    allowed = {key: checked_value(key, value) for key, value in (overrides or {}).items() if _may_override(key, value)}
    if not restore_afterwards:
        for key, value in allowed.items():
            shared.opts.set(key, value, is_api=True, run_callbacks=False)
        yield
        return

    outer_overlay = shared.state.overlay
    with shared.opts.overlay(allowed) as overlay:
        shared.state.overlay = overlay
        try:
            yield
        finally:
            shared.state.overlay = outer_overlay


def _may_override(key: str, value: Any) -> bool:
    info = shared.opts.data_labels.get(key)
    if info is None and value is None:
        return False
    if info is None:
        raise InvalidInput(f"override_settings: there is no setting {key!r}; GET /sdapi/v1/options lists all", key)
    try:
        return shared.opts.is_writable(key) and not info.restrict_api
    except RuntimeError:
        return False
    except AssertionError as e:
        raise InvalidInput(f"override_settings: {e}", key) from e


KINDS = {int: "a number", float: "a number", str: "a text", list: "a list"}
"""Types of settings that are checked, and how a message calls them."""


NO = ("false", "off", "no", "f", "n", "0")
"""Words for a switch that is off."""


def checked_value(key: str, value: Any) -> Any:
    """Returns a value from a request for a setting. Numbers may come as text, texts as numbers, a list of one as its
    element, and a switch as anything that Python finds true or false, or a word for it; null is taken.

    Raises InvalidInput for a value of another kind, which no job could work with.
    """
    kind = type(shared.opts.get_default(key))
    if value is None or (kind is not str and isinstance(value, int | float)):
        return value
    if kind is bool:
        return bool(value) and str(value).lower() not in NO
    if kind not in KINDS:
        return value
    if kind is list and isinstance(value, str):
        return [value] if value else []
    try:
        value = TypeAdapter(kind, config={"coerce_numbers_to_str": True}).validate_python(value)
    except ValidationError as e:
        raise InvalidInput(f"the setting {key} is {value!r}, but must be {KINDS[kind]}", key) from e
    if shared.opts.data_labels[key].component == "FormColorPicker":
        try:
            ImageColor.getrgb(value)
        except ValueError as e:
            raise InvalidInput(f"the setting {key} is {value!r}, but must be a colour like #ff8800", key) from e
    return value
