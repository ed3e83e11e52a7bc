import json

import gradio as gr
import pytest

from modules.ui_components import DropdownMulti, InputAccordion, ToolButton
from modules.ui_loadsave import UiLoadsave, radio_choices


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ui-config.json"


def build():
    with gr.Blocks() as tab:
        gr.Textbox("", label="Prompt", elem_id="p")
        gr.Slider(64, 2048, 512, step=8, label="Width", elem_id="w")
        gr.Radio(["a", "b"], value="a", label="Mode", type="index", elem_id="r")
        gr.Dropdown(["x", "y"], value="x", label="Sampler", elem_id="d")
        gr.Dropdown(["x", "y"], value=[], multiselect=True, label="Styles", elem_id="m")
        gr.Number(7, label="Seed", elem_id="n")
        gr.Checkbox(False, label="Extra", elem_id="c")
        gr.Button("Go", elem_id="b")
        ToolButton("🎲", elem_id="t")
        DropdownMulti(choices=["x"], label="Not kept", elem_id="multi")
        gr.Textbox("", label="Hidden", visible=False, elem_id="h")
        with InputAccordion(False, label="Hires. fix", elem_id="hr"):
            pass
        with gr.Tabs(elem_id="modes"):
            gr.Tab("one", id="one")
            gr.Tab("two", id="two")
    return tab, {block.elem_id: block for block in tab.blocks.values() if block.elem_id}


def load(path, stored=None):
    if stored is not None:
        path.write_text(json.dumps(stored), encoding="utf8")
    tab, controls = build()
    loadsave = UiLoadsave(str(path))
    loadsave.add_block(tab, "tab")
    return loadsave, controls


def test_defaults_of_a_new_page_are_written(path):
    loadsave, _ = load(path)
    loadsave.dump_defaults()
    stored = json.loads(path.read_text(encoding="utf8"))
    assert stored["tab/Width/value"] == 512 and stored["tab/Width/step"] == 8
    assert stored["tab/Mode/value"] == "a"
    assert stored["tab/Go/visible"] is True and stored["tab/🎲/visible"] is True
    assert stored["tab/Hires. fix/value"] is False and stored["tab/Hires. fix/visible"] is True
    assert stored["tab/Tabs@modes/selected"] is None
    assert "tab/Hidden/value" in stored and "tab/Hidden/visible" not in stored
    assert not any("Not kept" in key for key in stored)


def test_stored_values_are_applied(path):
    _, controls = load(
        path,
        {
            "tab/Prompt/value": 5,
            "tab/Width/value": 768,
            "tab/Width/maximum": 4096,
            "tab/Mode/value": "b",
            "tab/Sampler/value": "y",
            "tab/Styles/value": ["x"],
            "tab/Seed/value": 3,
            "tab/Extra/visible": False,
            "tab/Hires. fix/value": True,
            "tab/Tabs@modes/selected": "two",
        },
    )
    assert controls["p"].value == "5"
    assert (controls["w"].value, controls["w"].maximum) == (768, 4096)
    assert (controls["r"].value, controls["d"].value, controls["m"].value) == ("b", "y", ["x"])
    assert controls["n"].value == 3.0 and isinstance(controls["n"].value, float)
    assert controls["c"].visible is False
    assert controls["hr-checkbox"].value is True and controls["hr"].open is True
    assert controls["modes"].selected == "two"


def test_values_that_cannot_be_chosen_are_ignored(path):
    _, controls = load(
        path,
        {
            "tab/Mode/value": "gone",
            "tab/Sampler/value": "gone",
            "tab/Styles/value": ["gone"],
            "tab/Tabs@modes/selected": "gone",
        },
    )
    assert (controls["r"].value, controls["d"].value, controls["m"].value) == ("a", "x", [])
    assert controls["modes"].selected is None


def test_components_of_one_name_share_what_is_stored_as_far_as_they_can(path, caplog):
    loadsave = UiLoadsave(path)
    with gr.Blocks():
        text, menu = gr.Textbox("a", label="X"), gr.Dropdown(["b"], value=["b"], multiselect=True, label="X")
    for _ in range(2):
        for component in (text, menu):
            loadsave.add_component("tab/X", component)
        loadsave.dump_defaults()
        loadsave = UiLoadsave(path)
    assert (text.value, menu.value, caplog.text) == ("a", ["b"], "")


def test_the_value_a_control_has_already_is_no_error(path, caplog):
    path.write_text(json.dumps({"tab/Values/value": ""}), encoding="utf8")
    with gr.Blocks():
        control = gr.Dropdown(["a"], value="a", label="Values")
        control.value = ""  # as a menu that follows another one has it until that is chosen
        UiLoadsave(str(path)).add_component("tab/Values", control)
    assert caplog.text == ""


def test_values_of_another_kind_are_named_and_ignored(path, caplog):
    stored = {
        "tab/Prompt/value": ["a"],
        "tab/Width/value": "wide",
        "tab/Width/step": {},
        "tab/Width/maximum": "4096",
        "tab/Mode/value": {},
        "tab/Seed/value": "many",
        "tab/Extra/value": "perhaps",
        "tab/Extra/visible": [],
        "tab/Hires. fix/value": "no",
        "tab/Tabs@modes/selected": [1],
    }
    loadsave, controls = load(path, stored)
    assert (controls["p"].value, controls["n"].value, controls["c"].value) == ("", 7, False)
    assert (controls["w"].value, controls["w"].step, controls["w"].maximum) == (512, 8, 4096.0)
    assert controls["c"].visible is True and controls["hr-checkbox"].value is False
    read = ("tab/Width/maximum", "tab/Hires. fix/value")
    assert all((key in caplog.text) is (key not in read) for key in stored)
    loadsave.dump_defaults()
    assert stored.items() <= json.loads(path.read_text(encoding="utf8")).items()


@pytest.mark.parametrize("content", ["[1]", "3", '{"tab/Width/value": 768, "tab/Pro', "\x00"])
def test_a_damaged_file_is_left_alone_and_kept_when_defaults_are_written(path, content):
    path.write_text(content, encoding="utf8")
    loadsave, controls = load(path)
    assert controls["w"].value == (768 if "768" in content else 512)
    loadsave.dump_defaults()
    assert path.read_text(encoding="utf8") == content
    loadsave.write_to_file({"a": 1})
    assert json.loads(path.read_text(encoding="utf8")) == {"a": 1}
    assert path.with_name("ui-config.json.damaged").read_text(encoding="utf8") == content


def test_same_key_shares_one_value(path):
    loadsave = UiLoadsave(str(path))
    with gr.Blocks():
        first, second = gr.Number(1, label="Seed"), gr.Number(2, label="Seed")
    loadsave.add_component("tab/Seed", first)
    loadsave.add_component("tab/Seed", second)
    assert second.value == 1 and loadsave.component_mapping["tab/Seed/value"] is first


def test_controls_of_scripts_have_their_file_in_the_key(path):
    loadsave = UiLoadsave(str(path))
    with gr.Blocks():
        steps = gr.Slider(label="Steps")
        private = gr.Textbox(label="Private")
        menu = gr.Dropdown(["None", "Plot"], value="None", label="Script")
    steps.custom_script_source, private.do_not_save_to_config = "sampler.py", True
    chosen = []
    menu.init_field = chosen.append
    loadsave.ui_settings["tab/Script/value"] = "Plot"
    for component in (steps, private, menu):
        loadsave.add_component(f"tab/{component.label}", component)
    assert "customscript/sampler.py/tab/Steps/value" in loadsave.ui_settings
    assert not any("Private" in key for key in loadsave.ui_settings)
    assert chosen == ["Plot"]


def test_broken_file_is_left_alone(path):
    path.write_text("{", encoding="utf8")
    loadsave, controls = load(path)
    loadsave.dump_defaults()
    assert loadsave.error_loading and path.read_text(encoding="utf8") == "{"
    assert controls["w"].value == 512


def test_changes_are_shown_and_written(path):
    loadsave, _ = load(path)
    loadsave.dump_defaults()
    values = {key: component.value for key, component in loadsave.component_mapping.items()}
    values |= {"tab/Width/value": 1024, "tab/Mode/value": 1, "tab/Styles/value": []}
    shown = loadsave.ui_view(*values.values())
    assert shown.count("<tr>") == 3 and "1024" in shown and "<td class='ui-defaults-new'>b</td>" in shown
    assert loadsave.ui_apply(*values.values()) == "Wrote 2 changes."
    stored = json.loads(path.read_text(encoding="utf8"))
    assert (stored["tab/Width/value"], stored["tab/Mode/value"]) == (1024, "b")
    assert loadsave.ui_apply(*values.values()) == "No changes."
    assert "No changes" in loadsave.ui_view(*values.values())


def test_index_beyond_the_choices_is_no_change(path):
    loadsave, _ = load(path)
    loadsave.dump_defaults()
    values = {key: component.value for key, component in loadsave.component_mapping.items()} | {"tab/Mode/value": 9}
    assert loadsave.ui_apply(*values.values()) == "No changes."


def test_defaults_page_acts_on_all_controls(path):
    loadsave, _ = load(path)
    with gr.Blocks() as page:
        loadsave.create_ui()
        loadsave.setup_ui()
    assert [fn.inputs for fn in page.fns.values()] == [list(loadsave.component_mapping.values())] * 2
    loadsave.dump_defaults()
    with pytest.raises(AssertionError):
        loadsave.setup_ui()


def test_texts_of_choices():
    with gr.Blocks():
        assert radio_choices(gr.Radio(["a", ("shown", 2)])) == ["a", "shown"]
        assert radio_choices(gr.Textbox()) == []
