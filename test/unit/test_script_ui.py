"""Descriptions and initial values of scripts' controls, and their building without a page."""

from __future__ import annotations

import gradio as gr
import pytest

from modules import script_ui, scripts, scripts_postprocessing
from modules.scripts import ScriptRunner

BUILDER = ScriptRunner.controls_builder


class Menu(scripts.Script):
    def __init__(self, title: str):
        self._title = title

    def title(self):
        return self._title


@pytest.mark.parametrize(
    ("control", "value"),
    [
        (lambda: gr.Textbox(), ""),
        (lambda: gr.Textbox("text"), "text"),
        (lambda: gr.Slider(3, 9), 3),
        (lambda: gr.Slider(3, 9, 4), 4),
        (lambda: gr.Checkbox(), False),
        (lambda: gr.Number(), None),
        (lambda: gr.Dropdown(["a", "b"], value="b"), "b"),
        (lambda: gr.Dropdown(["a", "b"], value="b", type="index"), 1),
        (lambda: gr.Radio(["a", "b"], type="index"), None),
        (lambda: gr.CheckboxGroup(["a", "b"], value=["a"]), ["a"]),
    ],
)
def test_default_argument_is_what_the_page_would_send(control, value):
    with gr.Blocks():
        assert BUILDER.default_arg(control()) == value


def test_description_leaves_out_what_a_control_lacks():
    with gr.Blocks():
        slider = script_ui.describe_control(gr.Slider(1, 5, 2, step=0.5, label="amount"))
        menu = script_ui.describe_control(gr.Dropdown(["a", "b"], value="b", type="index", label="letter"))
        unnamed = script_ui.describe_control(gr.Image())
    assert slider == {"label": "amount", "value": 2, "minimum": 1, "maximum": 5, "step": 0.5}
    assert menu == {"label": "letter", "value": "b", "choices": ["a", "b"]}
    assert unnamed == {"label": ""}


def test_menu_shows_the_group_of_the_chosen_script_only():
    runner = ScriptRunner()
    runner.selectable_scripts = [Menu("First"), Menu("Second")]
    runner.titles = ["First", "Second"]
    runner.title_map = {"first": runner.selectable_scripts[0], "second": runner.selectable_scripts[1]}
    with gr.Blocks() as page:
        for script in runner.selectable_scripts:
            with BUILDER.group(visible=False) as script.group:
                gr.Number()
        menu = BUILDER.script_menu(["First", "Second", "Dropped"])
        BUILDER.connect_script_menu(menu, runner)
    assert [name for name, _ in menu.choices] == ["None", "First", "Second"]
    show = next(event.fn for event in page.fns.values() if event.targets[0][0] == menu._id)
    assert [update["visible"] for update in show(2)] == [False, True]
    assert [update["visible"] for update in show(0)] == [False, False]
    assert [update["visible"] for update in show(None)] == [False, False]

    menu.init_field("Second")
    assert [script.group.visible for script in runner.selectable_scripts] == [False, True]
    menu.init_field("None")


def test_controls_are_made_once(sd_model):
    script_ui.ensure_controls()
    made = list(scripts.scripts_txt2img.scripts)
    first = script_ui.default_args(scripts.scripts_txt2img)
    first.clear()
    assert script_ui.default_args(scripts.scripts_txt2img)[0] == 0
    assert scripts.scripts_txt2img.scripts == made
    assert scripts.scripts_current is None


def test_controls_are_made_where_no_page_has(sd_model, monkeypatch):
    monkeypatch.setattr(scripts, "scripts_txt2img", ScriptRunner())
    args = script_ui.default_args(scripts.scripts_txt2img)
    runner = scripts.scripts_txt2img
    names = {script.name: script for script in runner.scripts if script.name}
    assert len(args) == len(runner.inputs)
    assert args[names["sampler"].args_from] == 20
    assert names["sampler"].args_from < names["refiner"].args_from < names["seed"].args_from
    assert names["seed"].args_to == names["prompt matrix"].args_from
    assert names["seed"].api_info["args"][0] == {"label": "Seed", "value": -1, "step": 1}


def test_postprocessing_scripts_can_build_controls():
    builder = scripts_postprocessing.control_builders[0]
    with builder.blocks(), builder.group() as group:
        gr.Number()
    assert isinstance(group, gr.Group)


class Half(Menu):
    """A script that registers all it can before it fails."""

    def ui(self, is_img2img):
        self.infotext_fields = [(gr.Number(), "Steps")]
        self.on_after_component(lambda on: self.heard.append(on.component), elem_id="late")
        with gr.Row():
            button = gr.Button()
            self.outside.click(lambda: None, None, button)
        with gr.Blocks():
            raise ValueError("half-way")

    def show(self, is_img2img):
        return scripts.AlwaysVisible


def test_script_that_fails_leaves_nothing_on_the_page(monkeypatch):
    runner, Half.heard = ScriptRunner(), []
    monkeypatch.setattr(scripts, "scripts_data", [scripts.ScriptClassData(lambda: Half("Half"), "/h.py", "/", None)])
    monkeypatch.setattr(scripts, "script_data_sources", [])
    monkeypatch.setattr(scripts, "scripts_current", runner)
    runner.initialize_scripts(is_img2img=False)
    with gr.Blocks() as page:
        Half.outside = gr.Button()
        runner.prepare_ui()
        runner.setup_ui()
        late = gr.Button(elem_id="late")
        late.click(lambda: None)
    assert runner.scripts == runner.alwayson_scripts == [] and Half.heard == []
    assert len(runner.inputs) == len(runner.default_args) == 1 and len(runner.infotext_fields) == 1
    assert not any(isinstance(block, gr.Row | gr.Number) for block in page.blocks.values())
    assert {target for event in page.fns.values() for target, _ in event.targets} == {late._id, runner.inputs[0]._id}
    assert page.get_config_file()["dependencies"]
