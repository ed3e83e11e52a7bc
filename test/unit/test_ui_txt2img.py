import pytest

from modules import ui_txt2img


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ((False, 512, 512, 2, 0, 0), ""),
        ((True, 512, 512, 2, 0, 0), "512x512 1024x1024"),
        ((True, 512, 768, 1.5, 0, 0), "512x768 768x1152"),
        ((True, 512, 512, 2, 1024, 768), "512x512 1024x768"),
        ((True, 512, 512, 2, 640, 0), "512x512 640x640"),
    ],
)
def test_size_of_the_hires_pass(program, arguments, shown):
    html = ui_txt2img.calc_resolution_hires(*arguments)
    sizes = [part.partition("<")[0] for part in html.split("<span class='resolution'>")[1:]]
    assert " ".join(sizes) == shown


@pytest.mark.parametrize(
    ("parameters", "enabled"),
    [
        ({}, False),
        ({"Denoising strength": 0.5}, False),
        ({"Denoising strength": 0.5, "Hires upscale": "2"}, True),
        ({"Denoising strength": 0.5, "Hires upscaler": "Latent"}, True),
        ({"Denoising strength": 0.5, "Hires resize-1": 0}, False),
        ({"Hires upscale": "2"}, False),
    ],
)
def test_pasting_switches_the_hires_pass(parameters, enabled):
    assert ui_txt2img.pasted_enable_hr(parameters) is enabled


def test_pasting_shows_the_rows_a_picture_used():
    unused = {"Hires sampler": "Use same sampler", "Hires prompt": ""}
    assert "visible" not in ui_txt2img.pasted_hires_sampler_row(unused)
    assert "visible" not in ui_txt2img.pasted_hires_prompt_row(unused)
    assert ui_txt2img.pasted_hires_sampler_row({"Hires schedule type": "Karras"})["visible"]
    assert ui_txt2img.pasted_hires_prompt_row({"Hires negative prompt": "dog"})["visible"]


def test_checkpoints_of_the_hires_pass(program):
    names = ui_txt2img.hires_checkpoints()
    assert names[0] == "Use same checkpoint" and len(names) > 1
