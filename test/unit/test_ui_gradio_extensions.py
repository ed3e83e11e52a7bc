import json

import pytest

from modules import localization, shared, ui_gradio_extensions


def test_viewer_is_as_opaque_as_the_settings_say(program, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "sd_webui_modal_lightbox_icon_opacity", 0.25)
    monkeypatch.setitem(shared.opts.data, "sd_webui_modal_lightbox_toolbar_opacity", 0)
    assert "--lightbox-icon-opacity: 0.25; --lightbox-toolbar-opacity: 0;" in ui_gradio_extensions.css_html()


@pytest.mark.parametrize(
    ("setting", "height"), [("", None), ("500", "500px"), ("50vh", "50vh"), ("1px; } body { display: none", None)]
)
def test_gallery_is_as_high_as_the_setting_says(program, monkeypatch, setting, height):
    monkeypatch.setitem(shared.opts.data, "gallery_height", setting)
    css = ui_gradio_extensions.css_html()
    assert ("--gallery-height" in css) == (height is not None)
    assert height is None or f"--gallery-height: {height};" in css


def settings_of(state):
    """The settings that the page's scripts begin with."""
    line = next(line for line in state.splitlines() if line.startswith("window.currentOpts = "))
    return json.loads(line.removeprefix("window.currentOpts = "))


def test_the_page_is_served_with_the_settings_of_now(program, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "show_progress_in_title", False)
    told = settings_of(ui_gradio_extensions.page_state_html())
    assert told == json.loads(shared.opts.dumpjson()) and told["show_progress_in_title"] is False


def test_a_setting_cannot_end_the_script_it_stands_in(program, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "samples_filename_pattern", "</script><!--<script>")
    state = ui_gradio_extensions.page_state_html()
    assert settings_of(state)["samples_filename_pattern"] == "</script><!--<script>"
    assert state.count("<script>") == 1 and state.count("</script>") == 1 and "<!--" not in state


def test_a_language_chosen_now_is_that_of_the_next_page(program, monkeypatch, tmp_path):
    (tmp_path / "xx.json").write_text('{"Generate": "Tee"}', encoding="utf8")
    monkeypatch.setattr(localization, "localizations", {"xx": [str(tmp_path / "xx.json")]})
    assert '"Generate": "Tee"' not in ui_gradio_extensions.page_state_html()
    monkeypatch.setitem(shared.opts.data, "localization", "xx")
    assert '"Generate": "Tee"' in ui_gradio_extensions.page_state_html()
