import html
import json
from types import SimpleNamespace

import gradio as gr
import pytest

from modules import errors, extensions, script_callbacks, sd_models, shared, sysinfo, ui_settings
from modules.options import OptionHTML, OptionInfo
from modules.ui_components import DropdownMulti


@pytest.mark.parametrize(
    ("info", "widget"),
    [
        (OptionInfo("a", "text"), gr.Textbox),
        (OptionInfo(True, "flag"), gr.Checkbox),
        (OptionInfo(1, "number"), gr.Number),
        (OptionInfo(1.5, "number"), gr.Number),
        (OptionInfo(1, "slider", gr.Slider, {"minimum": 0}), gr.Slider),
        (OptionInfo([], "list", "DropdownMulti"), DropdownMulti),
        (OptionInfo("a", "menu", "Dropdown"), gr.Dropdown),
        (OptionHTML("<p>note</p>"), gr.HTML),
    ],
)
def test_widget_of_a_setting(info, widget):
    assert ui_settings.widget_class(info) is widget


def test_setting_without_a_widget_says_which():
    with pytest.raises(ValueError, match="'odd' has a default of type dict"):
        ui_settings.widget_class(OptionInfo({}, "odd"))


def test_arguments_are_looked_up_now():
    choices = ["a"]
    info = OptionInfo("a", "menu", gr.Dropdown, lambda: {"choices": list(choices)})
    choices.append("b")
    assert ui_settings.widget_arguments(info) == {"choices": ["a", "b"]}
    assert ui_settings.widget_arguments(OptionInfo(1, "count")) == {"precision": 0}
    assert ui_settings.widget_arguments(OptionInfo(1.0, "size")) == {}


@pytest.fixture
def stored(program, tmp_path, monkeypatch):
    """Settings that are put back, and the file they are written to."""
    path = tmp_path / "config.json"
    monkeypatch.setattr(shared, "config_filename", str(path))
    before = dict(shared.opts.data)
    yield path
    shared.opts.data.clear()
    shared.opts.data.update(before)


@pytest.fixture
def page(stored, monkeypatch):
    """The Settings tab over three settings; the second one is not shown."""
    labels = {
        "test_text": OptionInfo("a", "Text"),
        "test_hidden": OptionInfo("a", "Hidden"),
        "test_count": OptionInfo(1, "Count"),
    }
    monkeypatch.setattr(shared.opts, "data_labels", labels)
    shared.opts.data |= {"test_text": "a", "test_hidden": "a", "test_count": 1}
    page = ui_settings.UiSettings()
    page.dummy_component = object()
    page.components = [object(), page.dummy_component, object()]
    return page


def test_apply_stores_what_is_shown(page, stored):
    settings, result = page.run_settings("b", "ignored", 1)
    assert result == "1 settings changed: test_text."
    assert json.loads(stored.read_text())["test_text"] == "b" == json.loads(settings)["test_text"]
    assert "ignored" not in stored.read_text()
    assert page.run_settings("b", None, 1)[1] == "0 settings changed."


def test_wrong_value_stores_nothing(page, stored):
    with pytest.raises(errors.InvalidInput, match="test_count is 'many', but must be a whole number"):
        page.run_settings("b", "a", "many")
    assert not stored.exists() and shared.opts.data.get("test_text") != "b"


def test_frozen_settings_are_not_written(page, stored, monkeypatch):
    def save(filename):
        raise RuntimeError("frozen")

    monkeypatch.setattr(shared.opts, "save", save)
    assert page.run_settings("b", "a", 1)[1] == "1 settings changed without save: test_text."


def test_quick_setting_is_stored_at_once(page, stored):
    value, settings = page.run_settings_single("b", "test_text")
    assert value == "b" and json.loads(settings)["test_text"] == "b" and stored.exists()
    assert page.run_settings_single("b", "test_text")[0]["value"] == "b", "no different: the value there is"
    assert "value" not in page.run_settings_single(5, "test_text")[0]


def test_a_setting_that_cannot_take_effect_says_so_on_the_page(page, stored, monkeypatch):
    def fail():
        raise errors.InvalidInput("cannot <load> it", field="test_text")

    said = []
    monkeypatch.setattr(ui_settings.gr, "Warning", said.append)
    monkeypatch.setattr(shared.opts.data_labels["test_text"], "onchange", fail)
    assert page.run_settings_single("b", "test_text")[0]["value"] == "a"
    assert page.run_settings("b", "ignored", 2)[1] == "1 settings changed: test_count."
    assert said == ["Text stays as it was: cannot &lt;load&gt; it"] * 2


def test_value_with_choices_of_now(page, monkeypatch):
    shared.opts.data_labels["test_menu"] = OptionInfo("a", "Menu", gr.Dropdown, lambda: {"choices": ["a", "b"]})
    update = ui_settings.get_value_for_setting("test_menu")
    assert (update["value"], update["choices"]) == ("a", ["a", "b"])


def test_checkpoint_shown_before_one_was_chosen(stored, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "sd_model_checkpoint", None)
    monkeypatch.setattr(sd_models, "select_checkpoint", lambda: SimpleNamespace(title="first"))
    assert ui_settings.current_value("sd_model_checkpoint") == "first"


@pytest.mark.parametrize(("use_short", "shown"), [(False, "a/b.safetensors [01]"), (True, "b [01]")])
def test_checkpoint_is_shown_as_its_menu_has_it(stored, monkeypatch, use_short, shown):
    info = SimpleNamespace(title="a/b.safetensors [01]", short_title="b [01]")
    monkeypatch.setitem(sd_models.checkpoint_aliases, "a/b.safetensors", info)
    monkeypatch.setitem(shared.opts.data, "sd_checkpoint_dropdown_use_short", use_short)
    monkeypatch.setitem(shared.opts.data, "sd_model_checkpoint", "a/b.safetensors")
    assert ui_settings.current_value("sd_model_checkpoint") == shown
    monkeypatch.setitem(shared.opts.data, "sd_model_checkpoint", "gone")
    assert ui_settings.current_value("sd_model_checkpoint") == "gone"


def test_settings_of_scripts_that_are_made_later_are_registered_too_and_each_once(program, monkeypatch):
    calls = []
    monkeypatch.setitem(script_callbacks.callback_map, "callbacks_ui_settings", [])
    page = ui_settings.UiSettings()
    script_callbacks.on_ui_settings(lambda: calls.append("first"))
    page.register_settings()
    script_callbacks.on_ui_settings(lambda: calls.append("late"))
    page.register_settings()
    page.register_settings()
    ui_settings.UiSettings().register_settings()
    script_callbacks.ordered_callbacks_map.clear()
    assert calls == ["first", "late", "first", "late"]


def test_report_is_checked(program):
    assert ui_settings.check_sysinfo(None) == ""
    report = sysinfo.get()
    assert ui_settings.check_sysinfo(report.encode()) == "Valid"
    assert ui_settings.check_sysinfo(report.replace("Linux", "Other", 1).encode()) == "Invalid"
    assert ui_settings.check_sysinfo(b"\xff\xfe") == "Invalid"


class Checkpoint:
    """A checkpoint file that notes when its hash is computed."""

    def __init__(self, sha256, computed):
        self.sha256 = sha256
        self.computed = computed

    def calculate_shorthash(self):
        self.computed.append(self)


def test_hashes_are_computed_for_those_without(program, monkeypatch):
    told = []
    monkeypatch.setattr(ui_settings.gr, "Info", told.append)
    computed = []
    known, unknown = Checkpoint("a", computed), Checkpoint(None, computed)
    monkeypatch.setattr(sd_models, "checkpoint_aliases", {"a": known, "b": unknown, "c": unknown})
    ui_settings.calculate_all_checkpoint_hash(2.0)
    assert computed == [unknown] and told == ["Calculated the hash of 1 checkpoints."]


def test_buttons_say_when_they_are_done(program, monkeypatch):
    told, done = [], []
    monkeypatch.setattr(ui_settings.gr, "Info", told.append)
    ui_settings.reporting(lambda: done.append(1), "Loaded")()
    assert done == [1] and told[0].startswith("Loaded in ")


def test_model_goes_to_its_device(sd_model, monkeypatch):
    sent = []
    monkeypatch.setattr(sd_models, "send_model_to_device", sent.append)
    ui_settings.load_model_to_device()
    assert [id(model) for model in sent] == [id(shared.sd_model)]


def test_licences_name_every_package(program):
    text = ui_settings.licenses_html()
    assert all(html.escape(name) in text for name in ("gradio", "torch", "transformers"))
    assert text.startswith("<h2>This program</h2>")


@pytest.mark.parametrize(
    ("builtin", "quick", "sought"),
    [
        (True, ["sd_model_checkpoint", "sd_vae"], set()),
        (True, ["sd_model_checkpoint"], {"vae"}),
        (False, ["sd_model_checkpoint", "sd_vae"], {"theirs", "saving-images"}),
    ],
)
def test_pages_that_scripts_look_at_come_with_the_page(program, monkeypatch, builtin, quick, sought):
    monkeypatch.setattr(extensions, "active", lambda: [SimpleNamespace(is_builtin=builtin)])
    labels = ui_settings.all_options() | {
        "of_extension": OptionInfo(1, "on a page of its own", section=("theirs", "Theirs")),
        "also_of_extension": OptionInfo(1, "on one of ours", section=("saving-images", "Saving images/grids")),
    }
    monkeypatch.setattr(shared.opts, "data_labels", labels)
    settings = ui_settings.UiSettings()
    settings.quicksettings_names = dict.fromkeys(quick, 0)
    assert {section for section, _ in settings.find_sought_sections()} == sought
