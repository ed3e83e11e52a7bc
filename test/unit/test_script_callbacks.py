"""The registry of callbacks: owners, names, order, removal, and that each runner reaches its registrar."""

import inspect
import json
from pathlib import Path

import pytest

from modules import extensions, script_callbacks, shared, shared_items
from modules.extensions import CallbackOrderInfo
from modules.hooks import CALLBACK_HOOKS

FACTS = json.loads((Path(__file__).parent.parent / "data" / "callbacks.json").read_text(encoding="utf8"))
PREFIX = "base/test_script_callbacks.py"


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(script_callbacks, "callback_map", {key: [] for key in script_callbacks.callback_map})
    monkeypatch.setattr(script_callbacks, "ordered_callbacks_map", {})
    monkeypatch.setattr(extensions, "extensions", [])
    monkeypatch.setattr(shared.opts, "data", {})


def registered(category):
    return [callback.name for callback in script_callbacks.callback_map[f"callbacks_{category}"]]


def ordered(category):
    return [
        callback.name.removeprefix(f"{PREFIX}/{category}/") for callback in script_callbacks.ordered_callbacks(category)
    ]


@pytest.mark.parametrize("fact", FACTS["registrars"], ids=lambda fact: fact["name"])
def test_registrars_have_their_signature_and_say_what_they_do(fact):
    function = getattr(script_callbacks, fact["name"])
    parameters = inspect.signature(function).parameters
    assert [(name, p.kind, p.default) for name, p in parameters.items()] == [
        ("callback", inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty),
        ("name", inspect.Parameter.KEYWORD_ONLY, None),
    ]
    assert function.__name__ == fact["name"]
    assert CALLBACK_HOOKS[fact["category"]].when in function.__doc__
    function(len)
    assert registered(fact["category"]) == [f"{PREFIX}/{fact['category']}"]


ARGUMENTS = {
    "app_started_callback": ("app_started", (None, "app"), {}),
    "app_reload_callback": ("on_reload", (), {}),
    "before_component_callback": ("before_component", ("component",), {"label": "x"}),
    "after_component_callback": ("after_component", ("component",), {"label": "x"}),
    "infotext_pasted_callback": ("infotext_pasted", ("text", {}), {}),
}
RUNNERS = [helper.partition("(")[0] for helper in FACTS["invocation_helpers"]]


@pytest.mark.parametrize("runner", RUNNERS)
def test_runners_hand_their_arguments_to_the_callbacks(runner):
    category, args, kwargs = ARGUMENTS.get(runner, (runner.removesuffix("_callback"), None, {}))
    spec = CALLBACK_HOOKS[category]
    if args is None:
        args = () if spec.arguments == "()" or category.startswith("list_") else (object(),)
    received = []
    getattr(script_callbacks, spec.registrar)(lambda *args, **kwargs: received.append((args, kwargs)))
    getattr(script_callbacks, runner)(*args, **kwargs)
    assert received == [(([],) if category.startswith("list_") else args, kwargs)]


def test_tabs_of_all_callbacks_are_collected(caplog):
    script_callbacks.on_ui_tabs(lambda: [("block", "Title", "id")])
    script_callbacks.on_ui_tabs(lambda: None)
    script_callbacks.on_ui_tabs(lambda: [("block0", "Title0")])
    script_callbacks.on_ui_tabs(lambda: [("block2", "Title2", "id2")])
    script_callbacks.on_ui_tabs(lambda: object())
    assert script_callbacks.ui_tabs_callback() == [("block", "Title", "id"), ("block2", "Title2", "id2")]
    assert caplog.text.count("failed in ui_tabs: TypeError: on_ui_tabs wants a list of (blocks, title, id)") == 2


def test_lists_are_filled_by_callbacks():
    script_callbacks.on_list_optimizers(lambda res: res.append("attention"))
    script_callbacks.on_list_unets(lambda res: res.append("unet"))
    assert script_callbacks.list_optimizers_callback() == ["attention"]
    assert script_callbacks.list_unets_callback() == ["unet"]


def test_undoing_hooks_run_in_reverse():
    calls = []
    script_callbacks.on_script_unloaded(lambda: calls.append(1))
    script_callbacks.on_script_unloaded(lambda: calls.append(2))
    script_callbacks.script_unloaded_callback()
    assert calls == [2, 1]


def test_a_failing_callback_stops_nothing(caplog):
    calls = []
    script_callbacks.on_model_loaded(lambda model: 1 / 0)
    script_callbacks.on_model_loaded(calls.append)
    script_callbacks.model_loaded_callback("model")
    assert calls == ["model"]
    assert "test_script_callbacks.py" in caplog.text


class TestNames:
    def test_they_are_made_unique(self):
        for _ in range(3):
            script_callbacks.on_ui_settings(len)
        script_callbacks.on_ui_settings(len, name="mine")
        name = f"{PREFIX}/ui_settings"
        assert registered("ui_settings") == [name, f"{name}-1", f"{name}-2", f"{name}/mine"]

    def test_they_begin_with_the_extension(self, monkeypatch, tmp_path):
        monkeypatch.setattr(extensions, "extension_paths", {str(tmp_path): extensions.Extension("Mine", str(tmp_path))})
        callbacks = []
        file = str(tmp_path / "scripts" / "a.py")
        script_callbacks.add_callback(callbacks, len, name="Script", category="script_process", filename=file)
        assert callbacks == [script_callbacks.ScriptCallback(file, len, "mine/a.py/script_process/Script")]

    def test_a_callback_belongs_to_the_file_being_loaded(self, tmp_path):
        file = tmp_path / "loaded.py"
        code = compile("from modules import script_callbacks\nscript_callbacks.on_ui_tabs(len)", str(file), "exec")
        exec(code, {})
        assert script_callbacks.callback_map["callbacks_ui_tabs"][0].script == str(file)


class TestOrder:
    @pytest.fixture(autouse=True)
    def callbacks(self):
        for name in "abcd":
            script_callbacks.on_cfg_denoiser(len, name=name)

    def instruct(self, monkeypatch, *instructions):
        metadata = type("Metadata", (), {"list_callback_order_instructions": lambda self: instructions})()
        monkeypatch.setattr(extensions, "extensions", [type("Extension", (), {"metadata": metadata})()])

    def test_registration(self):
        assert ordered("cfg_denoiser") == ["a", "b", "c", "d"]

    def test_metadata(self, monkeypatch):
        full = f"{PREFIX}/cfg_denoiser/"
        self.instruct(
            monkeypatch,
            CallbackOrderInfo(f"{full}a", before=["unknown"], after=[f"{full}c"]),
            CallbackOrderInfo(f"{full}d", before=[f"{full}b"], after=["unknown"]),
            CallbackOrderInfo("unknown", before=[f"{full}a"], after=[]),
        )
        assert ordered("cfg_denoiser") == ["c", "a", "d", "b"]

    def test_the_users_setting_goes_first(self):
        full = f"{PREFIX}/cfg_denoiser/"
        shared.opts.data["prioritized_callbacks_cfg_denoiser"] = [f"{full}d", "unknown", f"{full}b"]
        assert ordered("cfg_denoiser") == ["d", "b", "a", "c"]
        unsorted = script_callbacks.ordered_callbacks("cfg_denoiser", enable_user_sort=False)
        assert [callback.name[-1] for callback in unsorted] == ["a", "b", "c", "d"]

    def test_it_is_worked_out_anew_when_callbacks_come_and_go(self):
        assert len(ordered("cfg_denoiser")) == 4
        script_callbacks.on_cfg_denoiser(len, name="e")
        assert ordered("cfg_denoiser")[-1] == "e"
        del script_callbacks.callback_map["callbacks_cfg_denoiser"][0]
        assert ordered("cfg_denoiser") == ["b", "c", "d", "e"]

    def test_callbacks_of_the_same_name_are_all_called(self):
        twins = [script_callbacks.ScriptCallback("x", len), script_callbacks.ScriptCallback("y", abs)]
        assert script_callbacks.sort_callbacks("any", twins) == twins

    def test_a_list_can_be_given(self):
        given = [script_callbacks.ScriptCallback("x", len, "n")]
        assert script_callbacks.ordered_callbacks("script_process", given) == given
        assert script_callbacks.ordered_callbacks("no such category") == []


class TestRemoval:
    def test_of_the_calling_file(self):
        script_callbacks.on_ui_tabs(len)
        other = script_callbacks.ScriptCallback("other.py", abs, "other")
        script_callbacks.callback_map["callbacks_ui_tabs"].append(other)
        script_callbacks.remove_current_script_callbacks()
        assert script_callbacks.callback_map["callbacks_ui_tabs"] == [other]

    def test_of_a_function(self):
        script_callbacks.on_ui_tabs(len)
        script_callbacks.on_before_ui(len)
        script_callbacks.on_before_ui(abs)
        script_callbacks.remove_callbacks_for_function(len)
        remaining = [c.callback for _, found in script_callbacks.enumerate_callbacks() for c in found]
        assert remaining == [abs]

    def test_of_all(self):
        script_callbacks.on_ui_tabs(len)
        ordered("ui_tabs")
        script_callbacks.clear_callbacks()
        assert ordered("ui_tabs") == []


def test_settings_for_the_order_exist_where_there_are_callbacks(monkeypatch):
    script_callbacks.on_ui_tabs(len, name="<b>")
    script_hooks = [
        ("script_process", [script_callbacks.ScriptCallback("x", len, "x/a.py/script_process/S")]),
        ("script_none", []),
    ]
    monkeypatch.setitem(
        shared_items.providers, "script_hook_callbacks", shared_items.ItemProvider(lambda: script_hooks)
    )
    settings = shared_items.callbacks_order_settings()
    assert list(settings) == [
        "callbacks_order_explanation",
        "prioritized_callbacks_ui_tabs",
        "prioritized_callbacks_script_process",
    ]
    info = settings["prioritized_callbacks_ui_tabs"]
    assert (info.default, info.component, info.section, info.category_id) == (
        [],
        "DropdownMulti",
        ("callbacks", "Callbacks"),
        "system",
    )
    assert info.component_args == {"choices": [f"{PREFIX}/ui_tabs/<b>"]}
    assert "&lt;b&gt;" in info.comment_after
    assert "restart" in info.comment_after


def test_code_that_calls_callbacks_itself_can_report(caplog):
    try:
        raise ValueError("inside")
    except ValueError:
        script_callbacks.report_exception(script_callbacks.ScriptCallback("file.py", len), "my_hook")
    assert "my_hook for file.py" in caplog.text
    assert "inside" in caplog.text
