import gradio as gr
import pytest

from modules import ui_components
from modules.ui_components import InputAccordion


@pytest.mark.parametrize(
    ("name", "block_name"),
    [
        ("ToolButton", "button"),
        ("ResizeHandleRow", "row"),
        ("FormRow", "row"),
        ("FormColumn", "column"),
        ("FormGroup", "group"),
        ("FormHTML", "html"),
        ("FormColorPicker", "colorpicker"),
        ("DropdownMulti", "dropdown"),
        ("DropdownEditable", "dropdown"),
    ],
)
def test_widget_is_drawn_as_its_gradio_block(name, block_name):
    with gr.Blocks():
        widget = getattr(ui_components, name)(elem_id="w", elem_classes="own")
    assert widget.get_block_name() == block_name
    assert widget.get_config()["elem_id"] == "w"
    assert "own" in widget.elem_classes
    if name not in ("ResizeHandleRow",):
        assert widget.get_expected_parent() is gr.components.Form


def test_classes_are_added_once():
    with gr.Blocks():
        button = ui_components.ToolButton("x", elem_classes=["tool", "own"])
        row = ui_components.ResizeHandleRow(elem_classes=["own"])
    assert button.elem_classes == ["tool", "own", "gradio-button"]
    assert row.elem_classes[:2] == ["resize-handle-row", "own"]


def test_dropdowns_are_what_their_names_say():
    with gr.Blocks():
        several = ui_components.DropdownMulti(choices=["a", "b"], value=["a"])
        editable = ui_components.DropdownEditable(choices=["a"], value="own")
    assert several.multiselect and several.value == ["a"]
    assert editable.allow_custom_value and editable.value == "own"


@pytest.mark.parametrize(
    ("sent", "colour"),
    [
        ("rgba(204.85, 81.2, 0, 1)", "#cd5100"),
        ("rgb(1, 2, 3)", "#010203"),
        ("#ff8800", "#ff8800"),
        (None, None),
    ],
)
def test_picked_colour_is_hexadecimal(sent, colour):
    assert ui_components.FormColorPicker().preprocess(sent) == colour


def test_input_accordion_is_a_hidden_checkbox_and_an_accordion():
    with gr.Blocks() as page:
        with InputAccordion(True, label="Upscale", elem_id="up") as accordion:
            with accordion.extra():
                gr.HTML("beside the label")
            inside = gr.Textbox()
    assert accordion.elem_id == "up-checkbox" and accordion.value is True and accordion.visible is False
    assert accordion.accordion.elem_id == "up" and accordion.accordion.open is True
    assert accordion.accordion.elem_classes[0] == "input-accordion"
    assert inside in [block for form in accordion.accordion.children for block in getattr(form, "children", [form])]
    assert any(block.elem_id == "up-extra" for block in page.blocks.values())
    assert [fn.js for fn in page.fns.values()] == ['(checked) => inputAccordionChecked("up", checked)']


def test_input_accordions_without_an_id_are_numbered(monkeypatch):
    monkeypatch.setattr(InputAccordion, "global_index", 0)
    with gr.Blocks():
        ids = [InputAccordion(label="a").accordion_id, InputAccordion(label="b").accordion_id]
    assert ids == ["input-accordion-0", "input-accordion-1"]


def test_input_accordion_can_be_updated():
    with gr.Blocks():
        accordion = InputAccordion(False, label="x", elem_id="x")
    again = type(accordion)(**{**accordion.constructor_args, "render": False})
    assert again.elem_id == "x-checkbox" and not hasattr(again, "accordion")
