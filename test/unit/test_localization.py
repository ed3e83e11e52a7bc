"""Translations of the page."""

import pytest

from modules import extensions, localization, shared, shared_items
from modules.extensions import Extension


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of translations, and an extension that adds to one of them."""
    monkeypatch.setattr(localization, "localizations", {})
    monkeypatch.setattr(extensions, "script_path", str(tmp_path))
    monkeypatch.setattr(extensions, "extensions", [Extension("mine", str(tmp_path / "mine"))])
    for path in (tmp_path / "localizations", tmp_path / "mine" / "localizations"):
        path.mkdir(parents=True)
    (tmp_path / "localizations" / "de.json").write_text('{"Generate": "Erzeugen"}', encoding="utf8")
    (tmp_path / "localizations" / "broken.json").write_text("{", encoding="utf8")
    (tmp_path / "localizations" / "notes.txt").touch()
    (tmp_path / "mine" / "localizations" / "de.json").write_text('{"Mine": "Meins"}', encoding="utf8")
    return tmp_path / "localizations"


def test_files_of_the_same_name_belong_together(folder):
    localization.list_localizations(str(folder))
    assert sorted(localization.localizations) == ["broken", "de"]
    assert len(localization.localizations["de"]) == 2
    assert localization.localization_js("de") == 'window.localization = {"Generate": "Erzeugen", "Mine": "Meins"}'


def test_a_language_that_is_not_there_translates_nothing(folder):
    localization.list_localizations(str(folder))
    assert localization.localization_js("None") == "window.localization = {}"


def test_a_broken_file_is_reported(folder, caplog):
    localization.list_localizations(str(folder))
    assert localization.localization_js("broken") == "window.localization = {}"
    assert "broken.json" in caplog.text


def test_the_setting_lists_and_rescans_them(folder, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "localizations_dir", str(folder))
    shared_items.refresh("localizations")
    assert sorted(shared_items.items("localizations")) == ["broken", "de"]
