"""The table of hooks and the loop that calls them."""

import inspect
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from modules import hooks, script_callbacks
from modules.shared_cmd_options import cmd_opts
from test.ours import without_ours

FACTS = json.loads((Path(__file__).parent.parent / "data" / "callbacks.json").read_text(encoding="utf8"))


def test_the_table_has_every_callback():
    facts = [(fact["category"], fact["name"]) for fact in FACTS["registrars"]]
    rows = without_ours("callbacks", hooks.CALLBACK_HOOKS)
    assert [(name, hooks.CALLBACK_HOOKS[name].registrar) for name in rows] == facts
    assert all(spec.category == name for name, spec in hooks.CALLBACK_HOOKS.items())


def test_the_table_has_every_hook_of_scripts():
    no_hooks = {"title", "ui", "show", "run", "describe", "elem_id", "on_before_component", "on_after_component"}
    facts = {fact["name"] for fact in FACTS["script_class"]["methods"]} - no_hooks
    assert set(without_ours("script_hooks", hooks.SCRIPT_HOOKS)) == facts
    assert all(spec.category == f"script_{name}" for name, spec in hooks.SCRIPT_HOOKS.items())


def test_callbacks_that_undo_are_called_in_reverse():
    reverse = {category for category, spec in hooks.CALLBACK_HOOKS.items() if spec.is_reversed}
    assert set(without_ours("callbacks", reverse)) == {"script_unloaded", "before_ui"}


@pytest.mark.parametrize("name", [fact for fact in FACTS["param_objects"] if fact != "ScriptCallback"])
def test_parameter_objects_have_the_documented_fields_in_order(name):
    parameters = inspect.signature(getattr(script_callbacks, name)).parameters
    assert list(parameters) == list(FACTS["param_objects"][name])


def entry(callback, script="file.py"):
    return SimpleNamespace(script=script, callback=callback)


def test_every_callback_is_called_in_order_and_results_are_returned():
    callbacks = [entry(lambda x: x + 1), entry(lambda x: x * 2)]
    assert hooks.run_each("test", callbacks, lambda callback: callback(5)) == [6, 10]


def test_a_failing_callback_is_logged_with_file_and_hook_and_stops_nothing(caplog):
    callbacks = [entry(lambda: 1 / 0, "broken.py"), entry(lambda: "fine")]
    assert hooks.run_each("cfg_denoiser", callbacks, lambda callback: callback()) == ["fine"]
    assert "cfg_denoiser" in caplog.text
    assert "broken.py" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_interruptions_pass():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hooks.run_each("test", [entry(interrupt)], lambda callback: callback())


def test_tracing_names_every_call(monkeypatch, caplog):
    monkeypatch.setattr(cmd_opts, "trace_hooks", True)
    with caplog.at_level(logging.INFO, logger="modules.hook_records"):
        hooks.run_each("ui_tabs", [entry(lambda: None, "a.py"), entry(lambda: 1 / 0, "b.py")], lambda f: f())
    traced = [record.args[:2] for record in caplog.records if record.name == "modules.hook_records"]
    assert traced == [("ui_tabs", "a.py"), ("ui_tabs", "b.py")]
