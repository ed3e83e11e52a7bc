import json
from types import SimpleNamespace

import gradio as gr
import pytest

from modules import shared, ui
from modules.ui import Interface


@pytest.fixture(scope="module")
def page(app):
    """The page as the program made it."""
    return ui.create_ui()


def tabs_of(page):
    """{label: whether it has a button} of the tabs of the page."""
    root = next(block for block in page.blocks.values() if block.elem_id == "tabs")
    return {tab.label: tab.visible for tab in root.children}


def test_tabs_in_their_order(page):
    assert list(tabs_of(page))[:5] == ["txt2img", "img2img", "Extras", "PNG Info", "Checkpoint Merger"]
    assert list(tabs_of(page))[-1] == "Settings" and shared.tab_names == list(tabs_of(page))


def test_order_of_the_settings(monkeypatch):
    monkeypatch.setattr(ui, "opts", SimpleNamespace(ui_tab_order=["Settings", "B"]))
    interfaces = [Interface(None, label, label) for label in ("A", "B", "C", "Settings")]
    assert [interface.label for interface in ui.in_preferred_order(interfaces)] == ["Settings", "B", "A", "C"]


def test_hidden_tabs_are_part_of_the_page(app, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "hidden_tabs", ["Extras"])
    page = ui.create_ui()
    assert tabs_of(page)["Extras"] is False and tabs_of(page)["PNG Info"] is True
    assert any(block.elem_id == "extras_image" for block in page.blocks.values())


def properties(page, elem_id):
    return next(entry["props"] for entry in page.config["components"] if entry["props"].get("elem_id") == elem_id)


def test_page_shows_the_settings_of_now(page, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "CLIP_stop_at_last_layers", 5)
    monkeypatch.setitem(shared.opts.data, "sd_vae", "Automatic")
    assert properties(page, "setting_CLIP_stop_at_last_layers")["value"] == 5
    assert json.loads(properties(page, "settings_json")["value"])["CLIP_stop_at_last_layers"] == 5
    choices = properties(page, "setting_sd_vae")["choices"]
    assert all(len(choice) == 2 for choice in choices) and ("None", "None") in [tuple(choice) for choice in choices]


def test_tab_of_an_extension(app, monkeypatch):
    with gr.Blocks() as blocks:
        gr.Textbox(label="Mine", elem_id="mine_text")
    monkeypatch.setattr(ui.script_callbacks, "ui_tabs_callback", lambda: [(blocks, "Mine", "mine")])
    page = ui.create_ui()
    assert list(tabs_of(page))[-2] == "Mine"
    assert page.ui_loadsave.ui_settings["mine/Mine/value"] == ""


def test_sound_is_played_if_there_is_one(program, tmp_path, monkeypatch):
    monkeypatch.setattr(ui, "script_path", str(tmp_path))
    with gr.Blocks() as blocks:
        ui.create_audio_notification()
        assert not blocks.blocks
        (tmp_path / "notification.mp3").write_bytes(b"ID3")
        ui.create_audio_notification()
    assert [block.elem_id for block in blocks.blocks.values()][-1] == "audio_notification"


def test_footer_names_versions():
    text = ui.footer_html()
    assert "version: <b>" in text and f"gradio: {gr.__version__}" in text and text.count("http") == 1


def test_names_extensions_import():
    assert ui.gr_show(False) == {"visible": False, "__type__": "update"}
    for name in ("create_refresh_button", "plaintext_to_html", "ToolButton", "ordered_ui_categories", "paste_symbol"):
        assert hasattr(ui, name)
