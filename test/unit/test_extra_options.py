"""Settings in the generation tabs, as the built-in extension puts them there."""

import gradio as gr
import pytest

from modules import script_ui, scripts, shared, ui
from modules.processing import StableDiffusionProcessingTxt2Img


@pytest.fixture
def chosen(app, monkeypatch):
    """Chooses settings for both tabs."""

    def choose(*keys, **options):
        values = {"extra_options_txt2img": list(keys), "extra_options_img2img": list(keys[:1]), **options}
        for key, value in values.items():
            monkeypatch.setitem(shared.opts.data, key, value)

    return choose


@pytest.fixture
def make_script(app):
    """Makes the script with its controls."""

    def make(is_img2img=False):
        module = next(data.module for data in scripts.scripts_data if data.path.endswith("extra_options_section.py"))
        script = module.ScriptExtraOptions()
        with script_ui.unseen_page():
            script.controls = script.ui(is_img2img)
        return script

    return make


def test_none_are_shown_unless_chosen(chosen, make_script):
    chosen()
    assert make_script().controls == []


def test_each_tab_has_its_own(chosen, make_script):
    chosen("CLIP_stop_at_last_layers", "sd_vae", "of an extension that is gone", extra_options_cols=2)
    assert [control.label for control in make_script().controls] == ["Clip skip", "VAE"]
    assert [control.label for control in make_script(is_img2img=True).controls] == ["Clip skip"]


def test_values_hold_for_the_job_unless_it_names_the_setting(chosen, make_script):
    chosen("CLIP_stop_at_last_layers", "eta_noise_seed_delta")
    p = StableDiffusionProcessingTxt2Img(override_settings={"eta_noise_seed_delta": 1})
    make_script().before_process(p, 2, 3)
    assert p.override_settings == {"CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 1}


def test_infotext_fills_them(chosen, make_script):
    chosen("CLIP_stop_at_last_layers", "samples_format")
    script = make_script()
    assert script.infotext_fields == [(script.controls[0], "Clip skip")]


@pytest.mark.parametrize("is_foldable", [False, True])
def test_they_stand_in_the_page_and_show_the_settings_of_now(chosen, monkeypatch, is_foldable):
    chosen("CLIP_stop_at_last_layers", extra_options_accordion=is_foldable)
    page = ui.create_ui()
    monkeypatch.setitem(shared.opts.data, "CLIP_stop_at_last_layers", 7)
    box = next(block for block in page.blocks.values() if block.elem_id == "extra_options_txt2img")
    assert isinstance(box, gr.Accordion) == is_foldable
    shown = [entry["props"] for entry in page.config["components"]]
    values = [props["value"] for props in shown if props.get("elem_id") == "setting_CLIP_stop_at_last_layers"]
    assert values == [7, 7, 7]  # txt2img, img2img and the settings
    assert not any("Clip skip" in key for key in page.ui_loadsave.ui_settings)
