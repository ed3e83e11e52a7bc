from types import SimpleNamespace

import gradio as gr
import pytest

from modules import shared, shared_gradio_themes
from modules.shared_gradio_themes import SerenaTheme, resolve_var


def test_variables_are_followed():
    theme = SimpleNamespace(
        a="*b",
        b="red",
        b_dark="blue",
        a_dark="*b",
        only_light="green",
        loop="*loop",
        size_dark="*only_light",
        none=None,
    )
    assert resolve_var("a", theme) == "red"
    assert resolve_var("a_dark", theme) == "blue"
    assert resolve_var("only_light_dark", theme) == "green"
    assert resolve_var("size_dark", theme) == "green"
    assert resolve_var("none", theme) is None
    with pytest.raises(ValueError, match="loop refers to itself"):
        resolve_var("loop", theme)


def test_our_backgrounds_are_ours():
    theme = SerenaTheme()
    assert resolve_var("background_fill_primary", theme) == "white"
    assert resolve_var("background_fill_primary_dark", theme) == "#191e24"
    assert resolve_var("body_background_fill_dark", theme) == "#101419"


def test_no_font_is_fetched():
    assert "http" not in "".join(str(font) for font in (*SerenaTheme()._font, *SerenaTheme()._font_mono))
    assert not SerenaTheme()._stylesheets


@pytest.fixture
def theme():
    """`shared.gradio_theme` as it was, after the test."""
    before = shared.gradio_theme
    yield
    shared.gradio_theme = before


def test_theme_of_the_settings(program, theme, monkeypatch):
    shared_gradio_themes.reload_gradio_theme()
    assert isinstance(shared.gradio_theme, SerenaTheme)
    shared_gradio_themes.reload_gradio_theme("gradio/soft")
    assert isinstance(shared.gradio_theme, gr.themes.Soft) and not shared.gradio_theme._stylesheets


def test_theme_that_cannot_be_had_is_ours(program, theme, monkeypatch, caplog):
    def from_hub(name):
        raise OSError("no network")

    monkeypatch.setattr(gr.themes.ThemeClass, "from_hub", from_hub)
    shared_gradio_themes.reload_gradio_theme("someone/other")
    assert isinstance(shared.gradio_theme, SerenaTheme)
    assert "someone/other" in caplog.text


def test_theme_of_the_hub_is_kept(program, theme, monkeypatch, data_dir):
    asked = []

    def from_hub(name):
        asked.append(name)
        return gr.themes.Soft()

    monkeypatch.setattr(gr.themes.ThemeClass, "from_hub", from_hub)
    monkeypatch.setitem(shared.opts.data, "gradio_themes_cache", True)
    for _ in range(2):
        assert resolve_var("body_background_fill", shared_gradio_themes.load_theme("someone/new")) is not None
    assert asked == ["someone/new"] and (data_dir / "tmp/gradio_themes/someone_new.json").exists()
    monkeypatch.setitem(shared.opts.data, "gradio_themes_cache", False)
    shared_gradio_themes.load_theme("someone/new")
    assert len(asked) == 2
