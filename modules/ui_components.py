"""face: the widgets the page is made of besides Gradio's own; extensions build theirs from the same names.

Knows no tab and no setting. `gradio_extensons` is imported for its effect: without it Gradio 6 would lose every
property of a component whose constructor takes keyword arguments.
"""

from __future__ import annotations

import re
from typing import Any, Self

import gradio as gr

from modules import gradio_extensons  # noqa: F401


def with_class(name: str, classes: list[str] | str | None) -> list[str]:
    """Returns CSS classes with one more in the first place."""
    classes = [classes] if isinstance(classes, str) else list(classes or [])
    return [name, *(other for other in classes if other != name)]


class FormComponent:
    """Mixin for a block that stands in a form beside the controls around it, without the gaps of the page."""

    def get_expected_parent(self) -> type[gr.components.Form]:
        """Returns the block that Gradio puts around it."""
        return gr.components.Form


class ToolButton(FormComponent, gr.Button):
    """A small button with an emoji for a label. Give it a `tooltip`: it is also what a screen reader says."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, elem_classes=with_class("tool", kwargs.pop("elem_classes", None)), **kwargs)

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "button"


class ResizeHandleRow(gr.Row):
    """A row of two columns with a handle between them that the user can drag."""

    def __init__(self, **kwargs: Any):
        super().__init__(elem_classes=with_class("resize-handle-row", kwargs.pop("elem_classes", None)), **kwargs)

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "row"


class FormRow(FormComponent, gr.Row):
    """A row inside a form."""

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "row"


class FormColumn(FormComponent, gr.Column):
    """A column inside a form."""

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "column"


class FormGroup(FormComponent, gr.Group):
    """A group inside a form."""

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "group"


class FormHTML(FormComponent, gr.HTML):
    """HTML inside a form."""

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "html"


class FormColorPicker(FormComponent, gr.ColorPicker):
    """A colour picker inside a form."""

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "colorpicker"

    def preprocess(self, payload: str | None) -> str | None:
        """Returns the colour as #rrggbb: Gradio's picker sends rgba() with fractions, which nothing else reads."""
        if payload is None or not payload.startswith("rgb"):
            return payload
        red, green, blue = (round(float(channel)) for channel in re.findall(r"[\d.]+", payload)[:3])
        return f"#{red:02x}{green:02x}{blue:02x}"


class DropdownMulti(FormComponent, gr.Dropdown):
    """A dropdown with several values, a list."""

    def __init__(self, **kwargs: Any):
        kwargs.pop("multiselect", None)
        super().__init__(multiselect=True, **kwargs)

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "dropdown"


class DropdownEditable(FormComponent, gr.Dropdown):
    """A dropdown that also takes text of one's own."""

    def __init__(self, **kwargs: Any):
        kwargs.pop("allow_custom_value", None)
        super().__init__(allow_custom_value=True, **kwargs)

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "dropdown"


class InputAccordion(gr.Checkbox):
    """An accordion that is a value: True while it is ticked, which opens it. Use it as a context manager to fill it.

    The component itself is a hidden checkbox, `<id>-checkbox`; `inputAccordion.js` shows its state in the accordion's
    label. Ids: `elem_id` on the accordion, else `input-accordion-<n>`, counted from 0 for every page.
    """

    global_index = 0

    def __init__(self, value: bool = False, **kwargs: Any):
        self.accordion_id = kwargs.get("elem_id") or f"input-accordion-{InputAccordion.global_index}"
        InputAccordion.global_index += not kwargs.get("elem_id")
        label = kwargs.pop("label", "Accordion")
        layout = {key: kwargs[key] for key in ("visible", "render") if key in kwargs}
        classes = kwargs.pop("elem_classes", None)

        hidden = {**kwargs, "elem_id": f"{self.accordion_id}-checkbox", "visible": False, "label": label}
        super().__init__(value, elem_classes=["input-accordion-checkbox"], **hidden)
        if not gradio_extensons.building():
            return
        self.change(fn=None, js=f'(checked) => inputAccordionChecked("{self.accordion_id}", checked)', inputs=[self])
        self.accordion = gr.Accordion(
            label,
            open=bool(value),
            elem_id=self.accordion_id,
            elem_classes=with_class("input-accordion", classes),
            **layout,
        )

    def extra(self) -> gr.Column:
        """Returns the column whose content is shown in the accordion's label, to the right: `with accordion,
        accordion.extra(): ...`.
        """
        return gr.Column(elem_id=f"{self.accordion_id}-extra", elem_classes=["input-accordion-extra"], min_width=0)

    def __enter__(self) -> Self:
        self.accordion.__enter__()
        return self

    def __exit__(self, exc_type: type | None, exc_val: BaseException | None, exc_tb: Any) -> None:
        self.accordion.__exit__(exc_type, exc_val, exc_tb)

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "checkbox"
