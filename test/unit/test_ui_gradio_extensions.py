import pytest

from modules import shared, ui_gradio_extensions


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
