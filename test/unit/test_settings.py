"""Every setting against the facts in options.json."""

import json
import os
from pathlib import Path

import pytest

from modules import settings, shared, shared_items, util
from modules.options import categories
from modules.paths_internal import data_path
from modules.settings import saving, widgets
from modules.shared_options import restricted_opts
from test.ours import without_ours

FACTS = json.loads((Path(__file__).parent.parent / "data" / "options.json").read_text(encoding="utf8"))
ROWS = settings.all_options()
WIDGETS = {bool: "Checkbox", str: "Textbox", int: "Number", float: "Number", list: "?"}


def test_all_settings_are_there_in_the_order_of_their_pages():
    expected: dict[tuple, list[str]] = {}
    for option in FACTS["options"]:
        expected.setdefault((option["section_id"], option["section_title"]), []).append(option["key"])
    for section, keys in expected.items():
        rows = [key for key, info in ROWS.items() if info.section == section and not info.do_not_save]
        assert [key for key in rows if key in keys] == keys


@pytest.mark.parametrize("option", [pytest.param(option, id=option["key"]) for option in FACTS["options"]])
def test_default_and_place(option):
    info = ROWS[option["key"]]
    default = option["default"]
    if option["section_id"] == "saving-paths" and default:
        default = saving.in_data_dir(*default.split("/"))
    assert info.default == default
    assert type(info.default) is type(default)
    assert info.section == (option["section_id"], option["section_title"])
    assert info.category_id == option["category_id"]
    assert info.infotext == option.get("infotext")
    assert info.restrict_api == option.get("restrict_api", False)
    assert (info.refresh is not None) == bool(option.get("refresh"))
    assert ("Reload UI" in info.comment_after) == (option["needs"] == "reload_ui")
    assert info.label


@pytest.mark.usefixtures("program")  # lists of choices have owners
@pytest.mark.parametrize("option", [pytest.param(option, id=option["key"]) for option in FACTS["options"]])
def test_widget(option):
    info = ROWS[option["key"]]
    widget = info.component or WIDGETS[type(info.default)]
    assert widget == option["component"]
    arguments = info.component_args() if callable(info.component_args) else dict(info.component_args or {})
    assert ("visible" in arguments) == bool(option.get("hidden_by_hide_ui_dir_config"))
    arguments.pop("visible", None)
    if "choices_dynamic" in option:
        assert callable(info.component_args)
    elif "choices" in option:
        assert arguments == {"choices": option["choices"]}
    else:
        assert arguments == option.get("component_args", {})


@pytest.mark.parametrize("note", [pytest.param(note, id=note["key"]) for note in FACTS["notes"]["option_html_notes"]])
def test_notes(note):
    info = ROWS[note["key"]]
    assert info.section == (note["section_id"], note["section_title"])
    assert info.do_not_save
    assert info.default


def test_categories_are_registered_in_order():
    facts = [(category["id"], category["label"]) for category in FACTS["categories"]]
    assert list(settings.categories.items()) == facts
    assert [(category.id, category.label) for category in categories.mapping.values()] == facts


def test_restricted_settings():
    forgotten = {"outdir_img2img_grids"}  # v1.10.1 locks it only by hiding its field
    assert set(without_ours("settings", restricted_opts)) == set(FACTS["notes"]["restricted_set"]) | forgotten


def test_settings_with_hints_link_to_the_table_of_all_settings():
    linked = {key for key, info in ROWS.items() if "settingsHintsShowQuicksettings" in info.comment_before}
    assert linked == {"quicksettings_list", "extra_options_txt2img", "extra_options_img2img"}


def test_the_shared_settings_are_these():
    assert set(shared.opts.data_labels) >= set(ROWS)


def test_folders_are_relative_where_the_program_runs_in_the_data_directory(monkeypatch):
    assert saving.in_data_dir("outputs", "x") == os.path.join(data_path, "outputs", "x")
    monkeypatch.setattr(saving, "data_path", os.path.join(util.cwd, "data"))
    assert saving.in_data_dir("outputs", "x") == os.path.join("data", "outputs", "x")


class TestWidgets:
    def test_slider(self):
        assert widgets.slider(0, 1, 0.1, visible=False) == {"minimum": 0, "maximum": 1, "step": 0.1, "visible": False}

    def test_choices_are_looked_up_when_asked_for(self, monkeypatch):
        arguments = widgets.choices_from("test_list", "None")
        assert arguments() == {"choices": ["None"]}
        monkeypatch.setitem(shared_items.providers, "test_list", shared_items.ItemProvider(lambda: ["a"]))
        assert arguments() == {"choices": ["None", "a"]}

    def test_rescan_asks_the_owner(self, monkeypatch):
        asked = []
        provider = shared_items.ItemProvider(lambda: [], lambda: asked.append(True))
        monkeypatch.setitem(shared_items.providers, "test_list", provider)
        widgets.rescan("test_list")()
        assert asked == [True]
