import json
from types import SimpleNamespace

import gradio as gr
import pytest

from modules import sd_models, shared, ui
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
    assert list(tabs_of(page))[-2:] == ["Settings", "Extensions"] and shared.tab_names == list(tabs_of(page))


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


def test_page_lists_the_checkpoints_of_now(page, monkeypatch, caplog):
    monkeypatch.setattr(sd_models, "checkpoint_tiles", lambda use_short=False: ["later [0123456789]"])
    broken = next(block for block in page.blocks.values() if block.elem_id == "modelmerger_bake_in_vae")
    monkeypatch.setattr(broken, "refreshed_args", lambda: 1 / 0)
    title = ("later [0123456789]", "later [0123456789]")
    assert properties(page, "modelmerger_primary_model_name")["choices"] == [title]
    assert title in properties(page, "hr_checkpoint")["choices"]
    assert ("None", "None") in properties(page, "modelmerger_bake_in_vae")["choices"]
    assert "modelmerger_bake_in_vae" in caplog.text


def test_tab_of_an_extension(app, monkeypatch):
    with gr.Blocks() as blocks:
        gr.Textbox(label="Mine", elem_id="mine_text")
    monkeypatch.setattr(ui.script_callbacks, "ui_tabs_callback", lambda: [(blocks, "Mine", "mine")])
    page = ui.create_ui()
    assert list(tabs_of(page))[-3] == "Mine"
    assert page.ui_loadsave.ui_settings["mine/Mine/value"] == ""


@pytest.mark.parametrize("place", ["data_path", "script_path"])
def test_sound_is_played_if_there_is_one(program, tmp_path, monkeypatch, place):
    for name in ("data_path", "script_path"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(ui, name, str(tmp_path / name))
    sound = tmp_path / place / "notification.mp3"
    with gr.Blocks() as blocks:
        ui.create_audio_notification()
        assert not blocks.blocks
        sound.write_bytes(b"ID3")
        monkeypatch.setitem(shared.opts.data, "notification_audio", False)
        ui.create_audio_notification()
        assert not blocks.blocks
        monkeypatch.setitem(shared.opts.data, "notification_audio", True)
        ui.create_audio_notification()
    made = list(blocks.blocks.values())[-1]
    assert made.elem_id == "audio_notification" and f'<audio src="file={sound}' in made.value


def test_footer_names_versions():
    text = ui.footer_html()
    assert "version: <a>" in text and f"gradio: {gr.__version__}" in text and text.count("http") == 1


def test_names_extensions_import():
    assert ui.gr_show(False) == {"visible": False, "__type__": "update"}
    for name in ("create_refresh_button", "plaintext_to_html", "ToolButton", "ordered_ui_categories", "paste_symbol"):
        assert hasattr(ui, name)
