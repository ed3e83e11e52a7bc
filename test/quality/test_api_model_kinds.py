"""Jobs on models that see a picture beside the latent: inpainting and InstructPix2Pix.

Those of this test give no weight to what they see, so their pictures are those of the embedded model.
"""

from pathlib import Path

import pytest

from modules import checkpoints, sd_models, shared
from test.quality.api_jobs import MASK, Result, distance
from test.unit.checkpoint_files import with_input_channels, write_checkpoint

KINDS = {"inpainting": 9, "edit": 8}
HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, client):
    """Name of the checkpoint of such a model, which is loaded beside the embedded one."""
    file = Path(checkpoints.model_path) / f"{request.param}.safetensors"
    write_checkpoint(file, with_input_channels(KINDS[request.param]))
    sd_models.list_models()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shared.opts.data, "sd_checkpoints_limit", 2)
        yield request.param
    file.unlink()
    sd_models.list_models()
    sd_models.reload_model_weights()
    assert shared.sd_model.sd_checkpoint_info.is_embedded


def alike(ours: Result, other: Result) -> bool:
    """The same pictures, up to the noise of another number of rows in the model's input."""
    pairs = zip(ours.images, other.images, strict=True)
    return all(a.size == b.size and distance(a, b) < 0.1 for a, b in pairs)


def on(kind: str, fields: dict) -> dict:
    return fields | {"override_settings": fields.get("override_settings", {}) | {"sd_model_checkpoint": kind}}


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_size": 2},
        {"prompt": "red AND apple:0.5", "negative_prompt": "blue", "s_min_uncond": 5.0},
        HIRES | {"hr_upscaler": "Latent"},
        HIRES | {"hr_upscaler": "Latent", "hr_resize_x": 96, "hr_resize_y": 72},
        HIRES | {"hr_upscaler": "Latent", "override_settings": {"inpainting_mask_weight": 0.5}},
        HIRES | {"hr_upscaler": "Lanczos", "hr_resize_x": 72, "hr_resize_y": 96},
    ],
    ids=["batch", "AND", "hires", "cropped hires", "hires that sees the picture", "cropped hires of pixels"],
)
def test_txt2img(txt2img, kind, fields):
    assert alike(txt2img(**on(kind, fields)), txt2img(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"image_cfg_scale": 2.0},
        {"resize_mode": 3},
        {"resize_mode": 3, "mask": MASK, "inpaint_full_res": False},
        {"mask": MASK, "batch_size": 2, "override_settings": {"inpainting_mask_weight": 0.5}},
    ],
    ids=["picture", "resized latent", "mask on a resized latent", "only the masked part"],
)
def test_img2img(img2img, kind, fields):
    assert alike(img2img(**on(kind, fields)), img2img(**fields))


def test_negative_prompt_is_never_left_out_of_instructions(img2img, kind):
    """Guidance has three parts there."""
    early = {"image_cfg_scale": 2.0, "negative_prompt": "blue", "override_settings": {"skip_early_cond": 0.5}}
    result = img2img(**on(kind, early))
    if kind == "edit":
        assert alike(result, img2img(negative_prompt="blue"))
    assert ("Skip Early CFG" in result.fields) == (kind != "edit")
