"""The script of soft inpainting: which of its hooks do what to a job of img2img."""

from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from modules import scripts, shared
from modules.hooks import MaskBlendArgs
from modules.script_base import PostProcessMaskOverlayArgs, PostSampleArgs

VALUES = (1.0, 0.5, 4.0, 0.0, 0.5, 2.0)
SIZE = (128, 128)
CELLS = (16, 16)


@pytest.fixture
def script(program):
    data = next(row for row in scripts.scripts_data if row.path.endswith("soft_inpainting_script.py"))
    script = data.script_class()
    script.is_img2img = True
    return script


@pytest.fixture
def p():
    """A job with two different images, inpainted in the right half."""
    mask = torch.zeros(1, 1, *CELLS)
    mask[..., 8:] = 1
    generator = torch.Generator().manual_seed(0)
    return SimpleNamespace(
        image_mask=Image.new("L", SIZE, 128),
        mask_round=True,
        nmask=mask,
        init_latent=torch.randn(2, 4, *CELLS, generator=generator),
        init_images=[Image.new("RGB", SIZE, "red"), Image.new("RGB", SIZE, "blue")],
        paste_to=None,
        resize_mode=0,
        width=SIZE[0],
        height=SIZE[1],
        extra_generation_params={},
    )


def changed(p, amount=10.0):
    """Latents of p, changed in the right half."""
    samples = p.init_latent.clone()
    samples[..., 8:] += amount
    return PostSampleArgs(samples)


def mean_of_halves(mask):
    pixels = np.asarray(mask, dtype=float)
    return pixels[:, :24].mean(), pixels[:, 104:].mean()


def test_it_is_on_the_img2img_tab_only(script):
    assert script.title() == "Soft inpainting"
    assert script.show(True) is scripts.AlwaysVisible
    assert script.show(False) is False


def test_controls_and_the_infotext_that_fills_them(script):
    with gr.Blocks():
        enabled, *sliders = script.ui(True)
    assert enabled.value is False
    assert [slider.value for slider in sliders] == list(VALUES)
    assert [field[1] for field in script.infotext_fields] == script.paste_field_names
    assert script.paste_field_names[0] == "Soft inpainting enabled"
    assert len(set(script.paste_field_names)) == 7


def test_infotext_and_mask_of_a_job(script, p):
    script.process(p, True, *VALUES)
    assert p.mask_round is False
    assert p.extra_generation_params == {
        "Soft inpainting enabled": True,
        "Soft inpainting schedule bias": 1.0,
        "Soft inpainting preservation strength": 0.5,
        "Soft inpainting transition contrast boost": 4.0,
        "Soft inpainting mask influence": 0.0,
        "Soft inpainting difference threshold": 0.5,
        "Soft inpainting difference contrast": 2.0,
    }


@pytest.mark.parametrize(("enabled", "has_mask"), [(False, True), (True, False)])
def test_switched_off_or_without_a_mask_nothing_happens(script, p, enabled, has_mask):
    if not has_mask:
        p.image_mask = None
    script.process(p, enabled, *VALUES)
    assert p.mask_round is True
    assert p.extra_generation_params == {}

    blended = torch.zeros(1)
    mba = MaskBlendArgs(*[torch.ones(1)] * 4, blended, denoiser=object(), sigma=torch.ones(1))
    script.on_mask_blend(p, mba, enabled, *VALUES)
    assert mba.blended_latent is blended

    script.post_sample(p, changed(p), enabled, *VALUES)
    ppmo = PostProcessMaskOverlayArgs(0, None, None)
    script.postprocess_maskoverlay(p, ppmo, enabled, *VALUES)
    assert ppmo.mask_for_overlay is None


def test_txt2img_job_has_no_mask(script):
    p = SimpleNamespace(mask_round=True, extra_generation_params={})
    script.process(p, True, *VALUES)
    assert p.mask_round is True


def blend(script, p, sigma, is_final=False):
    original, new = p.init_latent[:1], p.init_latent[1:]
    mba = MaskBlendArgs(new, torch.full((4, *CELLS), 0.5), original, torch.full((4, *CELLS), 0.5), original)
    if not is_final:
        mba.denoiser, mba.sigma = object(), torch.tensor([sigma])
    script.on_mask_blend(p, mba, True, *VALUES)
    return mba.blended_latent, original, new


def test_steps_blend_and_late_ones_hardly_keep_the_original(script, p):
    early, original, new = blend(script, p, 10.0)
    late, _, _ = blend(script, p, 0.01)
    assert torch.dist(late, new) < torch.dist(early, new)
    assert torch.dist(early, original) < torch.dist(late, original)


def test_last_blend_takes_what_was_sampled(script, p):
    blended, _, new = blend(script, p, None, is_final=True)
    assert blended is new


def test_original_stays_where_nothing_changed(script, p):
    script.post_sample(p, changed(p), True, *VALUES)
    assert len(script.masks_for_overlay) == len(script.overlay_images) == 2
    for mask, overlay, colour in zip(script.masks_for_overlay, script.overlay_images, ("red", "blue"), strict=True):
        assert (mask.mode, mask.size, overlay.mode) == ("L", SIZE, "RGBA")
        kept, made_anew = mean_of_halves(mask)
        assert kept < 5 and made_anew > 250
        assert overlay.getpixel((2, 32))[:3] == Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        assert overlay.getpixel((2, 32))[3] > 250
        assert overlay.getpixel((125, 32))[3] < 5


def test_overlay_of_each_image_is_its_own(script, p):
    script.post_sample(p, changed(p), True, *VALUES)
    for index in range(2):
        ppmo = PostProcessMaskOverlayArgs(index, None, None)
        script.postprocess_maskoverlay(p, ppmo, True, *VALUES)
        assert ppmo.mask_for_overlay is script.masks_for_overlay[index]
        assert ppmo.overlay_image is script.overlay_images[index]
    further = PostProcessMaskOverlayArgs(2, None, None)
    script.postprocess_maskoverlay(p, further, True, *VALUES)
    assert further.overlay_image is None


def test_next_job_forgets_the_last_ones_overlays(script, p):
    script.post_sample(p, changed(p), True, *VALUES)
    script.process(p, False, *VALUES)
    ppmo = PostProcessMaskOverlayArgs(0, None, None)
    script.postprocess_maskoverlay(p, ppmo, True, *VALUES)
    assert ppmo.overlay_image is None


def test_one_image_lies_under_the_whole_batch(script, p):
    p.init_images = p.init_images[:1]
    script.post_sample(p, changed(p), True, *VALUES)
    assert [overlay.getpixel((2, 32))[0] for overlay in script.overlay_images] == [255, 255]


def test_images_are_resized_as_the_job_resizes_them(script, p):
    p.init_images = [Image.new("RGB", (32, 96), "green")] * 2
    script.post_sample(p, changed(p), True, *VALUES)
    assert [overlay.size for overlay in script.overlay_images] == [SIZE] * 2


def test_transparent_images_show_the_background_of_the_settings(script, p):
    p.init_images = [Image.new("RGBA", SIZE, (0, 0, 0, 0))] * 2
    with shared.opts.overlay({"img2img_background_color": "#00ff00"}):
        script.post_sample(p, changed(p), True, *VALUES)
    assert script.overlay_images[0].getpixel((2, 32))[:3] == (0, 255, 0)


def test_part_that_was_worked_on_is_put_back_into_the_whole(script, p):
    p.init_images = [Image.new("RGB", (256, 192), "red")] * 2
    p.paste_to = (64, 32, 128, 128)
    script.post_sample(p, changed(p), True, *VALUES)
    mask = script.masks_for_overlay[0]
    assert mask.size == (256, 192)
    assert mask.getpixel((20, 100)) == 0
    assert mask.getpixel((180, 100)) > 250
    assert mask.getpixel((220, 100)) == 0


def test_latent_without_a_mask_is_left_alone(script, p):
    p.nmask = None
    script.post_sample(p, changed(p), True, *VALUES)
    assert script.masks_for_overlay == []
