"""state: short forms for what a row of settings says about its widget.

Widgets are named by string; ui_settings turns the name into a class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modules import shared_items
from modules.shared_cmd_options import cmd_opts

hide_dirs: dict[str, Any] = {"visible": not cmd_opts.hide_ui_dir_config}
"""Widget arguments of settings about folders and file names, which --hide-ui-dir-config hides."""


def slider(minimum: float, maximum: float, step: float, **kwargs: Any) -> dict[str, Any]:
    """Returns the arguments of a Slider."""
    return {"minimum": minimum, "maximum": maximum, "step": step, **kwargs}


def choices(*values: str, **kwargs: Any) -> dict[str, Any]:
    """Returns the arguments of a widget with a fixed list of choices."""
    return {"choices": list(values), **kwargs}


def choices_from(list_items: str | Callable[[], list[str]], *first: str) -> Callable[[], dict[str, Any]]:
    """Returns the arguments of a widget whose choices are looked up when the page is built.

    A list of shared_items, or what a function returns, after first.
    """

    def arguments() -> dict[str, Any]:
        """Returns the choices as they are now."""
        found = shared_items.items(list_items) if isinstance(list_items, str) else list_items()
        return {"choices": [*first, *found]}

    return arguments


def rescan(name: str) -> Callable[[], None]:
    """Returns the refresh function of a setting with the choices of a list of shared_items."""
    return lambda: shared_items.refresh(name)
