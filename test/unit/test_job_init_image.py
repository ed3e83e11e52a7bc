"""From init picture and mask to what img2img starts from."""

import numpy as np
import pytest
import torch
from PIL import Image

from modules import errors, processing, shared
from modules.job import init_image


def request(**fields):
    return processing.StableDiffusionProcessingImg2Img(
        **{"prompt": "apple", "width": 64, "height": 64, "mask_blur": 0, "inpaint_full_res": False} | fields
    )


def mask_with(box, size=(64, 64), value=255):
    mask = Image.new("L", size)
    mask.paste(value, box)
    return mask


def test_without_a_mask_there_is_no_plan(program):
    assert init_image.plan_mask(request()) == init_image.MaskPlan()


def test_the_whole_picture_is_worked_on_under_a_mask_of_its_size(program):
    p = request(mask=mask_with((64, 0, 128, 128), (128, 128)))
    plan = init_image.plan_mask(p)
    assert plan.crop_region is None and plan.image_mask.size == (64, 64)
    assert plan.image_mask.getpixel((16, 32)) == 0 and plan.image_mask.getpixel((48, 32)) == 255
    assert p.extra_generation_params == {}


def test_a_blurred_mask_is_doubled_for_the_overlay(program):
    p = request(mask=mask_with((0, 0, 32, 64)), mask_blur=4)
    plan = init_image.plan_mask(p)
    soft, overlay = np.array(plan.image_mask).astype(int), np.array(p.mask_for_overlay).astype(int)
    assert 0 < soft[32, 33] < 128
    assert np.array_equal(overlay, np.clip(soft * 2, 0, 255))
    assert p.extra_generation_params["Mask blur"] == 4


def test_an_inverted_mask(program):
    p = request(mask=mask_with((0, 0, 32, 64)), inpainting_mask_invert=1)
    assert init_image.plan_mask(p).image_mask.getbbox() == (32, 0, 64, 64)
    assert p.extra_generation_params["Mask mode"] == "Inpaint not masked"


@pytest.mark.parametrize(("rounded", "value"), [(True, 255), (False, 200)])
def test_soft_transparency_is_kept_only_unrounded(program, rounded, value):
    plan = init_image.plan_mask(request(mask=Image.new("RGBA", (64, 64), (0, 0, 0, 200)), mask_round=rounded))
    assert plan.image_mask.getextrema() == (value, value)


def test_only_masked_cuts_out_the_mask_with_its_padding(program):
    mask = mask_with((100, 100, 120, 110), (256, 256))
    p = request(mask=mask, inpaint_full_res=True, inpaint_full_res_padding=10)
    plan = init_image.plan_mask(p)
    x1, y1, x2, y2 = plan.crop_region
    assert (x1, x2) == (90, 130)
    assert (x2 - x1) == (y2 - y1), "grown to the shape of the result"
    assert p.paste_to == (x1, y1, 40, 40)
    assert plan.image_mask.size == (64, 64) and p.mask_for_overlay.size == (256, 256)
    assert p.extra_generation_params == {"Inpaint area": "Only masked", "Masked area padding": 10}


def test_an_empty_mask_is_dropped_with_a_word(program):
    p = request(mask=Image.new("L", (64, 64)), inpaint_full_res=True)
    assert init_image.plan_mask(p) == init_image.MaskPlan()
    assert p.image_mask is None and p.mask_for_overlay is None
    assert len(p.comments) == 1


def test_padding_that_leaves_nothing_is_refused(program):
    p = request(mask=mask_with((30, 30, 34, 34)), inpaint_full_res=True, inpaint_full_res_padding=-8)
    with pytest.raises(errors.InvalidInput) as caught:
        init_image.plan_mask(p)
    assert caught.value.field == "inpaint_full_res_padding"


@pytest.mark.parametrize(("blur", "rows", "columns"), [((4, 0), 64, 20), ((0, 4), 20, 64), ((0, 0), 20, 20)])
def test_blur_has_two_directions(blur, rows, columns):
    mask = mask_with((22, 0, 42, 64)) if blur == (0, 4) else mask_with((0, 22, 64, 42))
    dot = mask_with((22, 22, 42, 42))
    left, top, right, bottom = init_image.blur_mask(dot, *blur).getbbox()
    assert (right - left > 20) == (blur[0] > 0)
    assert (bottom - top > 20) == (blur[1] > 0)
    # along its own length a bar that fills the picture stays as it is
    assert init_image.blur_mask(mask, *blur).getbbox() == mask.getbbox()


def test_the_overlay_is_the_unmasked_part(program):
    p = request()
    p.mask_for_overlay = mask_with((0, 0, 32, 64))
    overlay = init_image.cut_overlay(p, Image.new("RGB", (64, 64), (10, 20, 30)))
    assert overlay.getpixel((5, 5))[3] == 0
    assert overlay.getpixel((50, 5)) == (10, 20, 30, 255)


def pictures(count):
    return init_image.PreparedImages(
        arrays=[np.full((3, 8, 8), i, dtype=np.float32) for i in range(count)],
        overlays=[Image.new("RGBA", (8, 8))] * count,
        color_corrections=list(range(count)),
    )


def test_one_picture_fills_the_batch(program):
    p = request(batch_size=3)
    assert init_image.fit_to_batch(p, pictures(1)).shape == (3, 3, 8, 8)
    assert len(p.overlay_images) == 3 and p.color_corrections == [0, 0, 0] and p.batch_size == 3


def test_several_pictures_are_the_batch(program):
    p = request(batch_size=3)
    batch = init_image.fit_to_batch(p, pictures(2))
    assert batch[:, 0, 0, 0].tolist() == [0, 1]
    assert p.batch_size == 2 and p.color_corrections == [0, 1]


@pytest.mark.parametrize("count", [0, 4])
def test_other_numbers_of_pictures_are_refused(program, count):
    with pytest.raises(errors.InvalidInput, match=str(count)) as caught:
        init_image.fit_to_batch(request(batch_size=3), pictures(count))
    assert caught.value.field == "init_images"


def masked_latent(fill, mask, **fields):
    p = request(inpainting_fill=fill, **fields)
    p.init_latent = torch.ones(1, 4, 8, 8)
    init_image.mask_latent(p, mask, [1], lambda shape, seeds: torch.full((1, *shape), 5.0))
    return p


@pytest.mark.parametrize(
    ("fill", "inside", "told"),
    [
        (init_image.ORIGINAL, 1.0, None),
        (init_image.LATENT_NOISE, 5.0, "latent noise"),
        (init_image.LATENT_NOTHING, 0.0, "latent nothing"),
    ],
)
def test_masked_content(program, fill, inside, told):
    p = masked_latent(fill, mask_with((0, 0, 32, 64)))
    assert p.init_latent[0, :, :, :4].eq(inside).all() and p.init_latent[0, :, :, 4:].eq(1).all()
    assert p.nmask.shape == (4, 8, 8) and p.nmask[:, :, :4].eq(1).all() and not p.nmask[:, :, 4:].any()
    assert torch.equal(p.mask, 1 - p.nmask)
    assert p.extra_generation_params.get("Masked content") == told


def test_cells_of_a_soft_mask(program):
    mask = mask_with((0, 0, 64, 64), value=102)
    assert not masked_latent(init_image.ORIGINAL, mask).nmask.any()
    assert torch.allclose(masked_latent(init_image.ORIGINAL, mask, mask_round=False).nmask, torch.tensor(0.4))


@torch.no_grad()
@pytest.mark.parametrize(("resize_mode", "size"), [(0, (64, 64)), (1, (64, 64)), (2, (64, 64)), (3, (128, 96))])
def test_everything_is_prepared(sd_model, monkeypatch, resize_mode, size):
    monkeypatch.setitem(shared.opts.data, "img2img_color_correction", True)
    encoded = []
    encode = init_image.latents.images_tensor_to_samples
    monkeypatch.setattr(
        init_image.latents,
        "images_tensor_to_samples",
        lambda pixels, *args, **kwargs: encoded.append(pixels) or encode(pixels, *args, **kwargs),
    )
    p = request(
        init_images=[Image.new("RGB", (128, 96), "red")],
        mask=mask_with((32, 32, 64, 64), (128, 96)),
        resize_mode=resize_mode,
        inpainting_fill=init_image.ORIGINAL,
        batch_size=2,
    )
    p.all_seeds = [1, 2]
    init_image.prepare(p, [1, 2], processing.create_random_tensors)
    assert encoded[0].shape == (2, 3, size[1], size[0])
    assert p.init_latent.shape == (2, 4, 8, 8) and p.nmask.shape == (4, 8, 8)
    assert len(p.overlay_images) == len(p.color_corrections) == 2
    assert p.overlay_images[0].size == (64, 64)
    assert p.image_conditioning.shape == (2, 5, 1, 1)
    assert p.extra_generation_params["Denoising strength"] == 0.75


def test_the_init_picture_is_kept_by_its_hash(program, tmp_path):
    p = request()
    image = Image.new("RGB", (8, 8), "red")
    init_image.save_init_image(p, image, str(tmp_path))
    assert [file.stem for file in tmp_path.iterdir()] == [p.init_img_hash]
    assert len(p.init_img_hash) == 32


def fitted(mask, image_size, **fields):
    return init_image.fit_to_image(request(init_images=[Image.new("RGB", image_size)], **fields), mask)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_mask_is_stretched_over_the_image_where_a_part_is_cut_out(program, mode):
    mask = mask_with((32, 0, 64, 32))
    found = fitted(mask, (256, 128), inpaint_full_res=True, resize_mode=mode)
    assert found.size == (256, 128) and found.getpixel((192, 32)) == 255 and found.getpixel((64, 96)) == 0


@pytest.mark.parametrize(("mode", "size"), [(0, (64, 64)), (1, (256, 128)), (2, (256, 128)), (3, (64, 64))])
def test_mask_of_another_shape_is_cut_and_filled_as_the_image_is(program, mode, size):
    assert fitted(mask_with((0, 0, 9, 9)), (256, 128), resize_mode=mode).size == size
    assert fitted(mask_with((0, 0, 9, 9)), (128, 128), resize_mode=mode).size == (64, 64)


def test_only_masked_of_a_smaller_mask_cuts_the_image(program):
    fields = {"init_images": [Image.new("RGB", (128, 128))], "inpaint_full_res": True, "inpaint_full_res_padding": 0}
    plan = init_image.plan_mask(request(mask=mask_with((16, 16, 48, 48)), **fields))
    x1, y1, x2, y2 = plan.crop_region
    assert 28 <= x1 <= 32 and 28 <= y1 <= 32 and 96 <= x2 <= 100 and 96 <= y2 <= 100


@pytest.mark.parametrize("size", [(64, 64), (32, 16), (128, 128)])
def test_latent_mask_is_cut_out_with_the_image(program, size):
    p = request(init_images=[Image.new("RGB", (128, 128))], inpaint_full_res=True)
    mask = mask_with((0, 0, size[0] // 2, size[1]), size)
    found = init_image.fit_latent_mask(p, mask, (32, 32, 96, 96))
    assert found.size == (64, 64)
    assert found.convert("L").getpixel((10, 30)) > 240 and found.convert("L").getpixel((54, 30)) < 15


@pytest.mark.parametrize(
    ("size", "expected"), [((1, 1), (16, 16)), ((8, 100), (16, 100)), ((16, 16), (16, 16)), ((17, 90), (17, 90))]
)
def test_image_has_at_least_two_cells_a_side(size, expected):
    assert init_image.with_enough_cells(Image.new("RGB", size), 8).size == expected
