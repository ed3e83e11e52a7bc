"""Translations of the page."""

import json
from pathlib import Path

import pytest

from modules import extensions, localization, shared, shared_items, ui_toprow
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


V1_LABELS = {
    "sd_model_checkpoint": "Stable Diffusion checkpoint",
    "sd_vae": "SD VAE",
    "CLIP_stop_at_last_layers": "Clip skip",
    "samples_format": "File format for images",
}
"""Labels of v1.10.1 that are so plain that no other words would do."""


@pytest.fixture
def translated(tmp_path, monkeypatch):
    """Returns what the page is told of a translation file with these entries."""
    monkeypatch.setattr(localization, "localizations", {"xx": [str(tmp_path / "xx.json")]})

    def tell(entries):
        (tmp_path / "xx.json").write_text(json.dumps(entries), encoding="utf8")
        return json.loads(localization.localization_js("xx").removeprefix("window.localization = "))

    return tell


def test_entries_for_the_labels_of_v1_10_1_translate_ours(translated):
    told = translated({label: f"xx {key}" for key, label in V1_LABELS.items()})
    for key in V1_LABELS:
        assert told[shared.opts.data_labels[key].label] == f"xx {key}"


def test_every_label_that_is_known_by_a_digest_is_translated(translated, monkeypatch):
    monkeypatch.setattr(localization, "digest", lambda text: text)
    known = localization.known_digests()
    told = translated({digest: f"xx {digest}" for _, digest in localization.digests_of_our_texts()})
    for key, digest in known["settings"].items():
        assert told[shared.opts.data_labels[key].label] == f"xx {digest}", key
    for text, digest in known["texts"].items():
        assert told[text] == f"xx {digest}"


def test_no_two_settings_share_a_label():
    labels = [shared.opts.data_labels[key].label for key in localization.known_digests()["settings"]]
    assert len(set(labels)) == len(labels)


def test_no_label_of_a_setting_is_that_of_another_control():
    with open("test/data/page_controls.json", encoding="utf8") as file:
        rows = [row for row in json.load(file) if not row["elem_id"].startswith("setting_")]
    controls = {row["label"] for row in rows if "label" in row}
    known = localization.known_digests()["settings"].items()
    ours = {shared.opts.data_labels[key].label: digest for key, digest in known}
    assert [text for text in controls & set(ours) if localization.digest(text) != ours[text]] == []


def test_an_entry_for_our_own_words_goes_before(translated):
    own = shared.opts.data_labels["sd_vae"].label
    assert translated({"SD VAE": "theirs", own: "ours"})[own] == "ours"


@pytest.mark.parametrize("value", ["", "SD VAE", None, True, ["a"]])
def test_what_translates_nothing_changes_nothing(translated, value):
    assert translated({"SD VAE": value}) == {"SD VAE": value}


def test_texts_with_a_digest_are_in_the_program():
    """A text that was reworded loses its translation."""
    sources = [
        path
        for folder in ("javascript", "modules", "scripts", "extensions-builtin")
        for path in Path(folder).rglob("*.[jp][sy]")
    ]
    program = "\n".join(path.read_text(encoding="utf8") for path in sources)
    labels = {info.label for info in shared.opts.data_labels.values()}
    built = {
        f"Prompt\n({ui_toprow.KEYS_HINT})",
        f"Negative prompt\n({ui_toprow.KEYS_HINT})",
        "Hires prompt\n(empty: as in the first pass)",
        "Hires negative prompt\n(empty: as in the first pass)",
        "Save to log/images",
        *(f"{label}: refresh" for label in labels),
        *(f"Send the picture and its settings to {name}" for name in ("img2img", "img2img inpainting", "Extras")),
    }
    texts = set(localization.known_digests()["texts"]) - built
    assert [text for text in texts if text not in program] == []


def test_a_translation_cannot_end_the_script_it_stands_in(translated):
    told = translated({"Generate": "</script><b>"})
    assert told == {"Generate": "</script><b>"}
    assert "</" not in localization.localization_js("xx")
