"""Argument lists of requests, for a runner with scripts of this test and with those that ship."""

from types import SimpleNamespace

import gradio as gr
import pytest

from modules import script_ui, scripts
from modules.api import script_args
from modules.errors import InvalidInput
from modules.scripts import AlwaysVisible, Script, ScriptClassData, ScriptRunner


class On(Script):
    def title(self):
        return "On"

    def show(self, is_img2img):
        return AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Number(value=1), gr.Textbox(value="two"), gr.Checkbox(value=True)]


class Also(On):
    def title(self):
        return "Also On"


class Chosen(Script):
    def title(self):
        return "Chosen One"

    def ui(self, is_img2img):
        return [gr.Number(value=5), gr.Textbox(value="six")]


class Second(Chosen):
    def title(self):
        return "Second"


@pytest.fixture
def runner(monkeypatch):
    """Two always-on scripts with three arguments each, then two of the menu with two each."""
    rows = [ScriptClassData(cls, "/mine/mine.py", "/mine", None) for cls in (On, Also, Chosen, Second)]
    monkeypatch.setattr(scripts, "scripts_data", rows)
    monkeypatch.setattr(scripts, "script_data_sources", [])
    runner = ScriptRunner()
    script_ui.build_unseen(runner, is_img2img=False)
    monkeypatch.setattr(script_ui, "ensure_controls", lambda: None)
    return runner


DEFAULTS = [0, 1, "two", True, 1, "two", True, 5, "six", 5, "six"]


def request(script_name=None, args=(), **alwayson):
    return SimpleNamespace(script_name=script_name, script_args=list(args), alwayson_scripts=alwayson)


def test_request_without_scripts_gets_what_the_controls_start_with(runner):
    assert script_args.assemble(request(), runner, {}) == (DEFAULTS, None)


def test_list_is_a_new_one_each_time(runner):
    first, _ = script_args.assemble(request(), runner, {})
    first[1] = "changed"
    assert script_args.assemble(request(), runner, {})[0] == DEFAULTS


@pytest.mark.parametrize(("name", "place"), [("Chosen One", 1), ("chosen one", 1), ("SECOND", 2)])
def test_chosen_script_stands_first_in_the_list(runner, name, place):
    args, script = script_args.assemble(request(name), runner, {})
    assert args == [place, *DEFAULTS[1:]]
    assert script.title().lower() == name.lower()


@pytest.mark.parametrize("name", ["", None])
def test_no_name_chooses_none(runner, name):
    assert script_args.selectable_script(name, runner) == (None, None)


@pytest.mark.parametrize("name", ["Third", "On", "none"])
def test_unknown_script_is_named(runner, name):
    with pytest.raises(InvalidInput, match=name) as caught:
        script_args.assemble(request(name), runner, {})
    assert caught.value.field == "script_name"


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], [5, "six"]), ([7], [7, "six"]), ([7, "eight"], [7, "eight"]), ([7, "eight", "nine"], [7, "eight"])],
)
def test_arguments_that_are_left_out_keep_their_defaults(runner, given, expected):
    args, _ = script_args.assemble(request("Chosen One", given), runner, {})
    assert args == [1, *DEFAULTS[1:7], *expected, 5, "six"]


def test_arguments_of_no_script_are_ignored(runner):
    assert script_args.assemble(request(None, [7, 8]), runner, {})[0] == DEFAULTS


def test_always_on_scripts_get_theirs_by_name(runner):
    args, _ = script_args.assemble(request(**{"also on": {"args": [9]}, "ON": {"args": [8, "x", False]}}), runner, {})
    assert args == [0, 8, "x", False, 9, "two", True, *DEFAULTS[7:]]


@pytest.mark.parametrize("entry", [{}, {"args": None}, {"args": []}, None, [1], "args", {"other": [1]}])
def test_entry_without_arguments_gives_none(runner, entry):
    assert script_args.assemble(request(on=entry), runner, {})[0] == DEFAULTS


@pytest.mark.parametrize("given", [5, "text", {"a": 1}, True])
def test_arguments_have_to_be_a_list(runner, given):
    with pytest.raises(InvalidInput, match="args of 'on' must be a list") as caught:
        script_args.assemble(request(on={"args": given}), runner, {})
    assert caught.value.field == "alwayson_scripts"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nothing", "Script 'Nothing' not found$"),
        ("ControlNet", "'ControlNet' not found: .*sd-webui-controlnet, which is not installed"),
        ("Chosen One", "selectable script"),
    ],
)
def test_entry_for_another_kind_of_script_is_refused(runner, name, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        script_args.assemble(request(**{name: {}}), runner, {})
    assert caught.value.field == "alwayson_scripts"


def test_infotext_lies_under_what_the_request_says(runner):
    args, _ = script_args.assemble(request(on={"args": [8]}), runner, {1: "lost", 2: "kept", 7: "kept too"})
    assert args == [0, 8, "kept", True, *DEFAULTS[4:7], "kept too", *DEFAULTS[8:]]


def shipped(title):
    """A script that ships, by its title."""
    found = next(data for data in scripts.scripts_data if data.script_class().title() == title)
    script = found.script_class()
    script.filename = found.path
    return script


@pytest.mark.parametrize(
    ("title", "values"),
    [
        ("Prompt matrix", [False, True, "positive", "comma", 0]),
        ("Prompt matrix", [False, True]),
        ("Prompt matrix", ["not a switch", None]),
        ("Loopback", [2, 0.5, "Linear", "None"]),
        ("Loopback", [2, 1, None, None]),
        ("X/Y/Z plot", [None, None, ["a"]]),
    ],
)
def test_arguments_that_shipped_scripts_work_with(program, title, values):
    script_args.check_args(shipped(title), values)


@pytest.mark.parametrize(
    ("title", "values", "name"),
    [
        ("Prompt matrix", [False, True, 5], "prompt_type"),
        ("Loopback", ["many", 0.5], "loops"),
        ("Loopback", [2, "strong"], "final_denoising_strength"),
        ("X/Y/Z plot", ["1"], "x_type"),
    ],
)
def test_argument_of_another_type_is_named(program, title, values, name):
    with pytest.raises(InvalidInput, match=f"script_args: {name} is ") as caught:
        script_args.check_args(shipped(title), values)
    assert caught.value.field == "script_args"


def test_scripts_of_extensions_are_not_asked(runner):
    class Typed(Chosen):
        def run(self, p, count: int):
            """Takes a number, as it says."""

    script = Typed()
    script.filename = "/mine/mine.py"
    script_args.check_args(script, ["anything"])
