"""face: ui-config.json: the page's own defaults of every control, and the settings page that writes them."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from modules import errors, option_values, options, settings_file, util
from modules.ui_components import InputAccordion, ToolButton

logger = logging.getLogger(__name__)

FIELDS: dict[type, tuple[str, ...]] = {
    gr.Slider: ("visible", "value", "minimum", "maximum", "step"),
    gr.Radio: ("visible", "value"),
    gr.Checkbox: ("visible", "value"),
    gr.Textbox: ("visible", "value"),
    gr.Number: ("visible", "value"),
    gr.Dropdown: ("visible", "value"),
    ToolButton: ("visible",),
    gr.Button: ("visible",),
}
"""Which properties of which component are kept. Subclasses other than these are not."""


READERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (gr.Textbox, option_values.read_str),
    (gr.Number, lambda value: float(option_values.read_float(value))),
    (gr.Slider, option_values.read_float),
    (gr.Checkbox, option_values.read_bool),
)
"""What reads the stored value of which component."""


def radio_choices(comp: Any) -> list[Any]:
    """Returns the texts a component offers; empty if it offers none."""
    return [choice[0] if isinstance(choice, tuple) else choice for choice in getattr(comp, "choices", None) or []]


def is_choice(component: Any, value: Any) -> bool:
    """Says whether a stored value can be chosen in a radio group or dropdown."""
    if getattr(component, "allow_custom_value", False):
        return isinstance(value, list if getattr(component, "multiselect", False) else str | int | float)
    choices = radio_choices(component)
    if getattr(component, "multiselect", False):
        return isinstance(value, list) and all(item in choices for item in value)
    return value in choices


def is_tab(tabs: gr.Tabs, tab_id: Any) -> bool:
    """Says whether a stored value names one of the tabs, by id or position."""
    items = [child for child in tabs.children if isinstance(child, gr.Tab)]
    return tab_id < len(items) if isinstance(tab_id, int) else tab_id in [item.id for item in items]


class UiLoadsave:
    """Applies the stored defaults to components as the page is built, and collects the defaults of those that have
    none.

    ui_settings: key -> value as in the file; component_mapping: key -> component of everything with a value.
    A damaged file is left alone: what can be read of it holds, the rest has its built-in default, and nothing is
    written before the user does. A value that its control cannot have is named in the log and left alone too.
    """

    def __init__(self, filename: str):
        self.filename = filename
        self.ui_settings: dict[str, Any] = {}
        self.component_mapping: dict[str, Any] = {}
        self.error_loading = False
        self.finalized_ui = False
        self.ui_defaults_view: gr.Button | None = None
        self.ui_defaults_apply: gr.Button | None = None
        self.ui_defaults_review: gr.HTML | None = None
        self.ui_settings, problem = settings_file.read(filename)
        if problem is not None:
            self.error_loading = True
            errors.report(f"Defaults of the page, {filename}, are damaged: {problem}; {len(self.ui_settings)} are used")

    def add_component(self, path: str, x: Any) -> None:
        """Applies what is stored for a component; path: "<tab id>/<label>"."""
        assert not self.finalized_ui, "the page is complete"
        if isinstance(x, InputAccordion):
            if x.accordion.visible:
                self.apply_field(path, x, x.accordion, "visible")
            self.apply_field(path, x, x, "value")
            self.apply_field(path, x, x.accordion, "value", attribute="open")
        elif isinstance(x, gr.Tabs):
            self.apply_field(path, x, x, "selected", allowed=lambda value: is_tab(x, value))
        elif type(x) in FIELDS:
            for field in FIELDS[type(x)]:
                if field == "visible" and not x.visible:
                    continue
                has_choices = field == "value" and isinstance(x, (gr.Radio, gr.Dropdown))
                self.apply_field(
                    path, x, x, field, allowed=(lambda value: is_choice(x, value)) if has_choices else None
                )

    def apply_field(
        self,
        path: str,
        component: Any,
        target: Any,
        field: str,
        allowed: Callable[[Any], bool] | None = None,
        attribute: str | None = None,
    ) -> None:
        """Sets one property of `target` to what is stored for `component`, or stores it; `allowed` refuses stored
        values.

        A component may have a function `init_field`, which is called with the value that was stored for it.
        """
        if getattr(component, "do_not_save_to_config", False):
            return
        key = f"{path}/{field}"
        if getattr(component, "custom_script_source", None) is not None:
            key = f"customscript/{component.custom_script_source}/{key}"
        saved = self.ui_settings.get(key)
        if saved is None:
            self.ui_settings[key] = getattr(target, attribute or field)
        else:
            self.apply_saved(key, component, target, attribute or field, saved, allowed)
        if field == "value":
            self.component_mapping.setdefault(key, component)

    def apply_saved(
        self,
        key: str,
        component: Any,
        target: Any,
        attribute: str,
        saved: Any,
        allowed: Callable[[Any], bool] | None,
    ) -> None:
        """Sets an attribute of `target` to a stored value, unless it is none for the component."""
        if saved == getattr(target, attribute):
            return
        field = key.rpartition("/")[2]
        try:
            value = self.cast(component, field, saved)
            if allowed is not None and not allowed(value):
                raise ValueError("must be one of the choices there are")
        except (TypeError, ValueError) as e:
            if key not in self.component_mapping:  # else it is the value of another component of that name
                logger.warning("%s: %s is %r, but %s; the built-in default is used", self.filename, key, saved, e)
            return
        setattr(target, attribute, value)
        if field == "value" and hasattr(component, "init_field"):
            component.init_field(value)

    @staticmethod
    def cast(component: Any, field: str, value: Any) -> Any:
        """Returns a stored value as the type its component has. Raises ValueError for one that cannot be read so."""
        if field == "visible":
            return option_values.read_bool(value)
        if field in ("minimum", "maximum", "step"):
            return option_values.read_float(value)
        for kinds, read in READERS:
            if field == "value" and isinstance(component, kinds):
                return read(value)
        return value

    def add_block(self, x: Any, path: str = "") -> None:
        """Applies what is stored to a block and all it contains."""
        if hasattr(x, "children"):
            if isinstance(x, gr.Tabs) and x.elem_id is not None:
                self.add_component(f"{path}/Tabs@{x.elem_id}", x)
            for child in x.children:
                self.add_block(child, path)
        elif getattr(x, "label", None) is not None:
            self.add_component(f"{path}/{x.label}", x)
        elif isinstance(x, gr.Button) and x.value is not None:
            self.add_component(f"{path}/{x.value}", x)

    def read_from_file(self) -> dict[str, Any]:
        """Returns what is stored, of a damaged file what can be read; nothing if there is no file."""
        return settings_file.read(self.filename)[0]

    def write_to_file(self, current_ui_settings: Mapping[str, Any]) -> None:
        """Writes the defaults, a whole file or none. A damaged one is kept beside."""
        if settings_file.read(self.filename)[1] is not None:
            options.keep_beside(self.filename)
        util.write_text_atomically(self.filename, json.dumps(current_ui_settings, indent=4, ensure_ascii=False))

    def dump_defaults(self) -> None:
        """Writes the file once the page is complete, if components were added or it is new."""
        self.finalized_ui = True
        if not self.error_loading and self.read_from_file() != self.ui_settings:
            self.write_to_file(self.ui_settings)

    def iter_changes(
        self, current_ui_settings: Mapping[str, Any], values: Sequence[Any]
    ) -> Iterator[tuple[str, Any, Any]]:
        """Yields (key, stored value, value in the page) of every component whose value differs from what is stored."""
        for (path, component), new_value in zip(self.component_mapping.items(), values, strict=True):
            old_value = current_ui_settings.get(path)
            choices = radio_choices(component)
            if choices and getattr(component, "type", None) == "index" and isinstance(new_value, int):
                if new_value >= len(choices):
                    continue
                new_value = choices[new_value]
            is_empty = new_value == "" and old_value is None or new_value == []
            if new_value != old_value and not is_empty:
                yield path, old_value, new_value

    def ui_view(self, *values: Any) -> str:
        """Returns an HTML table of what would be written."""
        rows = [
            f"<tr><td>{html.escape(path)}</td><td>{html.escape(str(old))}</td>"
            f"<td class='ui-defaults-new'>{html.escape(str(new))}</td></tr>"
            for path, old, new in self.iter_changes(self.read_from_file(), values)
        ]
        rows = rows or ["<tr><td colspan=3>No changes</td></tr>"]
        head = "<thead><tr><th>Path</th><th>Old value</th><th>New value</th></tr></thead>"
        return f"<table id='ui-defaults'>{head}<tbody>{''.join(rows)}</tbody></table>"

    def ui_apply(self, *values: Any) -> str:
        """Writes the values of the page as its defaults; they hold when it is built the next time."""
        current = self.read_from_file()
        changes = {path: new for path, _, new in self.iter_changes(current, values)}
        if not changes:
            return "No changes."
        self.write_to_file({**current, **changes})
        return f"Wrote {len(changes)} changes."

    def create_ui(self) -> None:
        """Makes the page Defaults of the settings."""
        gr.HTML(
            "Store the present values of this page's controls as its defaults: set them as you like to find them, "
            "look at <b>View changes</b>, then <b>Apply</b>. They hold from the next start, or Reload UI, on."
        )
        with gr.Row():
            self.ui_defaults_view = gr.Button(value="View changes", elem_id="ui_defaults_view", variant="secondary")
            self.ui_defaults_apply = gr.Button(value="Apply", elem_id="ui_defaults_apply", variant="primary")
        self.ui_defaults_review = gr.HTML("")

    def setup_ui(self) -> None:
        """Connects the page Defaults, once all components are known."""
        assert not self.finalized_ui, "the page is complete"
        inputs = list(self.component_mapping.values())
        for button, function in ((self.ui_defaults_view, self.ui_view), (self.ui_defaults_apply, self.ui_apply)):
            button.click(fn=function, inputs=inputs, outputs=[self.ui_defaults_review])
