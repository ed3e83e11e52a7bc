import json
from types import SimpleNamespace

import pytest
from PIL import Image

from modules import sd_models, ui_img2img


def test_text_of_resize_by():
    assert ui_img2img.resize_from_to_html(0, 0, 2.0) == "no image selected"
    html = ui_img2img.resize_from_to_html(64, 48.0, 1.5)
    assert ">64x48<" in html and ">96x72<" in html


@pytest.mark.parametrize(
    ("mode", "inpaint", "alpha"),
    [("img2img", False, False), ("inpaint", True, False), ("inpaint_sketch", True, True), ("batch", False, False)],
)
def test_controls_of_the_chosen_mode(mode, inpaint, alpha):
    controls, mask_alpha = ui_img2img.controls_of(mode)()
    assert (controls["visible"], mask_alpha["visible"]) == (inpaint, alpha)


def test_sizes_of_pictures_are_noted():
    picture = Image.new("RGB", (8, 6))
    sizes = ui_img2img.noting_size(0)(picture, "{}")
    sizes = ui_img2img.noting_size(2)({"image": picture, "mask": None}, sizes)
    assert json.loads(sizes) == {"0": [8, 6], "2": [8, 6]}
    assert json.loads(ui_img2img.noting_size(0)(None, sizes)) == {"0": [0, 0], "2": [8, 6]}


@pytest.mark.parametrize(
    ("model", "visible"),
    [(None, False), (SimpleNamespace(cond_stage_key="txt"), False), (SimpleNamespace(cond_stage_key="edit"), True)],
)
def test_image_cfg_scale_is_for_models_that_edit(monkeypatch, model, visible):
    monkeypatch.setattr(sd_models, "model_data", SimpleNamespace(sd_model=model))
    assert ui_img2img.image_cfg_scale_visibility()["visible"] is visible
