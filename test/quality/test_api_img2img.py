"""img2img and inpainting: how the picture is fitted, what the mask does, what comes back and what goes to disk."""

from __future__ import annotations

import hashlib
import itertools
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modules import script_callbacks, shared
from test.quality import api_jobs
from test.quality.api_jobs import FACE, MASK, decoded, distance, encoded

MASKED = {"mask": MASK, "mask_blur": 0, "inpaint_full_res": False, "inpainting_fill": 1}


def square_mask(size=(128, 128), box=(32, 32, 95, 95)):
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask


def pixels_of(image):
    return np.asarray(image.convert("RGB"), dtype=float)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [(64, 128), (128, 64), (96, 96)], ids=str)
def test_result_has_the_size_asked_for(img2img, mode, size):
    result = img2img(resize_mode=mode, width=size[0], height=size[1], steps=1)
    assert result.images[0].size == size
    assert result.fields["Size"] == f"{size[0]}x{size[1]}"


def test_resize_modes_differ(img2img):
    results = [img2img(resize_mode=mode, width=128, height=64).pixels for mode in range(4)]
    assert all(a != b for a, b in itertools.combinations(results, 2))


@pytest.mark.parametrize("full_res", [False, True])
@pytest.mark.parametrize("mode", [0, 1, 2, 3])
@pytest.mark.parametrize("fill", [0, 1, 2, 3])
def test_mask_with_every_fill_and_mode(img2img, full_res, mode, fill):
    result = img2img(
        mask=MASK, inpaint_full_res=full_res, resize_mode=mode, inpainting_fill=fill, width=96, height=64, steps=1
    )
    size = (128, 128) if full_res else (96, 64)
    assert result.images[0].size == size
    content = {0: "fill", 1: None, 2: "latent noise", 3: "latent nothing"}[fill]
    assert result.fields.get("Masked content") == content
    assert (result.fields.get("Inpaint area") == "Only masked") == full_res


@pytest.mark.parametrize("full_res", [False, True])
def test_outside_of_the_mask_is_the_original(img2img, full_res):
    mask = square_mask()
    result = img2img(**MASKED | {"mask": encoded(mask), "inpaint_full_res": full_res}, width=128, height=128)
    original, made = pixels_of(decoded(FACE)), pixels_of(result.images[0])
    outside = np.asarray(mask) == 0
    assert (made[outside] == original[outside]).all()
    assert (made[~outside] != original[~outside]).any()


def test_without_overlay_all_of_the_picture_went_through_the_vae(img2img):
    fields = MASKED | {"width": 128, "height": 128, "override_settings": {"overlay_inpaint": False}}
    made, original = pixels_of(img2img(**fields).images[0]), pixels_of(decoded(FACE))
    assert (made[:16, :16] != original[:16, :16]).any()


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
@pytest.mark.parametrize("full_res", [False, True])
@pytest.mark.parametrize("mask_size", [(64, 64), (200, 300), (48, 96)], ids=str)
def test_mask_of_another_size_is_stretched_over_the_image(img2img, full_res, mode, mask_size):
    """Outside of it the image stays, and no part of it turns black."""
    width, height = mask_size
    mask = square_mask(mask_size, (width // 4, height // 4, width * 3 // 4 - 1, height * 3 // 4 - 1))
    fields = MASKED | {"mask": encoded(mask), "inpaint_full_res": full_res, "resize_mode": mode}
    made = pixels_of(img2img(**fields, width=128, height=128, denoising_strength=0.1).images[0])
    original = pixels_of(decoded(FACE))
    outside = np.ones((128, 128), dtype=bool)
    outside[28:100, 28:100] = False
    assert np.abs(made[outside] - original[outside]).mean() < 2, "no more than Lanczos rings beside an edge"
    assert (made[40:88, 40:88] != original[40:88, 40:88]).any()
    assert abs(made[36:92, 36:92].mean() - original[36:92, 36:92].mean()) < 60


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_mask_and_image_of_another_shape_than_the_result_stay_together(img2img, mode):
    """The same as with a mask of the image's size, drawn in the same place."""
    face = decoded(FACE).convert("RGB").resize((128, 96))
    same, other = square_mask((128, 96), (32, 24, 95, 71)), square_mask((64, 64), (16, 16, 47, 47))
    fields = MASKED | {"init_images": [encoded(face)], "resize_mode": mode, "width": 64, "height": 64}
    results = [img2img(**fields | {"mask": encoded(mask)}).images[0] for mask in (same, other)]
    assert distance(*results) < 3


@pytest.mark.parametrize("side", [1, 7, 8, 9, 16])
@pytest.mark.parametrize("mode", [0, 3])
def test_very_small_images_work(img2img, side, mode):
    image = encoded(Image.new("RGB", (side, side), "red"))
    assert img2img(init_images=[image], resize_mode=mode, width=64, height=64).images[0].size == (64, 64)


def test_latent_mask_of_another_size_follows_the_image(img2img):
    face = decoded(FACE)
    fields = MASKED | {"init_images": [encoded(face)], "inpaint_full_res": True, "width": 64, "height": 64}
    small, large = (square_mask((n, n), (n // 4, n // 4, n // 2, n * 3 // 4)) for n in (64, 128))
    results = [img2img(**fields, latent_mask=encoded(mask)).images[0] for mask in (small, large)]
    assert distance(*results) < 3


def test_images_of_one_batch_may_differ_in_size_under_a_mask(img2img):
    faces = [encoded(decoded(FACE).resize(size)) for size in ((128, 128), (64, 64))]
    fields = MASKED | {"init_images": faces, "inpaint_full_res": True, "batch_size": 2}
    made = [pixels_of(image) for image in img2img(**fields, denoising_strength=0.1).images[-2:]]
    assert [image.shape for image in made] == [(128, 128, 3)] * 2
    assert abs(made[0].mean() - made[1].mean()) < 20


def test_inverted_mask(img2img):
    mask = square_mask()
    fields = MASKED | {"width": 128, "height": 128, "mask": encoded(mask), "inpainting_mask_invert": 1}
    result = img2img(**fields)
    original, made, inside = pixels_of(decoded(FACE)), pixels_of(result.images[0]), np.asarray(mask) > 0
    assert (made[inside] == original[inside]).all() and (made[~inside] != original[~inside]).any()
    assert result.fields["Mask mode"] == "Inpaint not masked"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"mask_blur": 4}, "4"),
        ({"mask_blur": None}, "4"),
        ({"mask_blur_x": 2, "mask_blur_y": 2, "mask_blur": None}, "2"),
        ({"mask_blur_x": 2, "mask_blur_y": 6, "mask_blur": None}, None),
        ({"mask_blur": 0}, None),
        ({"mask_blur": -5}, None),
    ],
    ids=str,
)
def test_blur_in_infotext(img2img, fields, text):
    assert img2img(**MASKED | fields, steps=1).fields.get("Mask blur") == text


def test_blur_of_each_direction(img2img):
    masks = []
    for x, y in ((0, 0), (8, 0), (0, 8)):
        fields = MASKED | {"mask": encoded(square_mask()), "mask_blur": None, "mask_blur_x": x, "mask_blur_y": y}
        options = {"override_settings": {"return_mask": True}}
        masks.append(np.asarray(img2img(**fields, width=128, height=128, steps=1, **options).images[1].convert("L")))
    sharp, horizontal, vertical = masks
    assert set(np.unique(sharp)) == {0, 255}
    assert (horizontal[64, :32] > 0).any() and not (horizontal[:31, 64] > 0).any()
    assert (vertical[:32, 64] > 0).any() and not (vertical[64, :31] > 0).any()


def test_only_masked_with_padding(img2img):
    results = [
        img2img(**MASKED | {"inpaint_full_res": True, "inpaint_full_res_padding": padding}) for padding in (0, 16)
    ]
    assert results[0].pixels != results[1].pixels
    assert [result.fields["Masked area padding"] for result in results] == ["0", "16"]


def test_padding_that_leaves_nothing_is_refused(client):
    body = api_jobs.SMALL | {"init_images": [FACE], "mask": MASK, "inpaint_full_res_padding": -500}
    response = client.post("/sdapi/v1/img2img", json=body)
    assert (response.status_code, response.json()["field"]) == (422, "inpaint_full_res_padding")


def test_empty_mask_with_only_masked_is_plain_img2img(img2img):
    black = encoded(Image.new("L", (128, 128)))
    assert img2img(mask=black, inpaint_full_res=True).pixels == img2img().pixels


def test_alpha_of_a_mask_counts_if_there_is_any(img2img):
    shape = square_mask()
    alpha = Image.new("RGBA", shape.size, (0, 0, 0, 0))
    alpha.paste((9, 9, 9, 255), mask=shape)
    fields = MASKED | {"width": 128, "height": 128}
    assert img2img(**fields | {"mask": encoded(alpha)}).pixels == img2img(**fields | {"mask": encoded(shape)}).pixels


def test_mask_that_is_not_rounded_blends(img2img):
    grey = Image.new("L", (128, 128), 100)
    fields = MASKED | {"mask": encoded(grey), "width": 128, "height": 128, "override_settings": {"return_mask": True}}
    rounded, soft = img2img(**fields), img2img(**fields, mask_round=False)
    assert rounded.images[1].getextrema()[0] == (200, 200)  # the overlay's mask is twice as bright
    assert rounded.pixels[0] != soft.pixels[0]


def test_latent_mask_of_its_own(img2img):
    other = encoded(square_mask(box=(0, 0, 40, 127)))
    fields = MASKED | {"width": 128, "height": 128}
    assert img2img(**fields, latent_mask=other).pixels != img2img(**fields).pixels
    assert img2img(**fields, latent_mask=MASK).pixels == img2img(**fields).pixels
    img2img(**MASKED | {"inpainting_fill": 0}, latent_mask=other)  # of another size than the result


def test_soft_inpainting_of_a_stretched_latent_owes_nothing_to_the_job_before(img2img):
    soft = MASKED | {"alwayson_scripts": {"Soft inpainting": {"args": [True, 1, 0.5, 4, 0, 0.5, 2]}}}
    stretched = soft | {"resize_mode": 3, "init_images": [encoded(Image.new("RGB", (160, 96), "green"))]}
    first = img2img(**stretched)
    img2img(**soft)
    assert img2img(**stretched).pixels == first.pixels != img2img(**stretched | {"alwayson_scripts": {}}).pixels


def test_returned_masks(img2img):
    overrides = {"return_mask": True, "return_mask_composite": True}
    result = img2img(**MASKED, width=128, height=128, override_settings=overrides)
    picture, mask, composite = result.images
    assert (mask.mode, composite.mode) == ("RGB", "RGBA")
    assert mask.size == composite.size == picture.size == (128, 128)
    alpha = np.asarray(composite)[..., 3]
    assert (alpha[np.asarray(mask.convert("L")) == 0] == 0).all() and alpha.max() == 255
    assert len(result.infotexts) == 1


def test_saved_masks_are_numbered_like_pictures(img2img, data_dir):
    before = set(data_dir.rglob("outputs/**/*.png"))
    overrides = {"save_mask": True, "save_mask_composite": True}
    result = img2img(**MASKED, save_images=True, override_settings=overrides)
    assert len(result.images) == 1
    new = sorted(path.stem for path in set(data_dir.rglob("outputs/**/*.png")) - before)
    assert len(new) == 3
    assert {stem.partition("-")[2] for stem in new} == {"1", "1-mask", "1-mask-composite"}
    numbers = sorted(int(stem.partition("-")[0]) for stem in new)
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_one_picture_serves_the_whole_batch(img2img):
    batch = img2img(batch_size=2, override_settings={"return_grid": False})
    assert len(batch.images) == 2
    # The posterior's noise goes on from picture to picture, so only the first equals its single run.
    assert distance(batch.images[0], img2img().images[0]) < 0.1
    assert distance(batch.images[1], img2img(seed=2).images[0]) < 12


def test_several_pictures_make_the_batch(img2img):
    grey = encoded(Image.new("RGB", (64, 64), (90, 90, 90)))
    both = img2img(init_images=[FACE, grey], batch_size=2, override_settings={"return_grid": False})
    assert len(both.images) == 2
    assert distance(both.images[0], both.images[1]) > 5
    fewer = img2img(init_images=[FACE, grey], batch_size=4, override_settings={"return_grid": False})
    assert len(fewer.images) == 2


@pytest.mark.parametrize("soft", [False, True])
def test_last_prompts_of_a_list_need_not_fill_their_batch(img2img, soft):
    script = {"script_name": "Prompt matrix", "script_args": [False, False, "positive", "comma", 0]}
    fields = MASKED | {"alwayson_scripts": {"Soft inpainting": {"args": [soft, 1, 0.5, 4, 0, 0.5, 2]}}}
    pictures = img2img(prompt="red|apple|green", batch_size=3, **script, **fields).images
    assert distance(pictures[-1], img2img(prompt="red, apple, green", **fields).images[0]) < 0.1


def test_strength_steps(img2img):
    """steps * strength, or exactly `steps` with the setting."""
    assert img2img(steps=10, denoising_strength=0.3).fields["Steps"] == "10"
    counted = [count_calls(img2img, steps=10, denoising_strength=strength) for strength in (0, 0.3, 1.0)]
    assert counted == [1, 4, 10]
    fixed = {"override_settings": {"img2img_fix_steps": True}}
    assert [count_calls(img2img, steps=3, denoising_strength=s, **fixed) for s in (0, 0.3, 1.0)] == [0, 3, 3]


def count_calls(img2img, **fields):
    calls = []

    def denoised(params):
        calls.append(params)

    script_callbacks.on_cfg_denoised(denoised, name="count")
    try:
        img2img(**fields)
    finally:
        script_callbacks.remove_callbacks_for_function(denoised)
    return len(calls)


def test_noise_multiplier_of_request_and_setting(img2img):
    plain, field = img2img(), img2img(initial_noise_multiplier=1.3)
    setting = img2img(override_settings={"initial_noise_multiplier": 1.3})
    assert field.pixels != plain.pixels
    assert field.fields["Noise multiplier"] == "1.3"
    assert "Noise multiplier" not in plain.fields
    # The request's object takes the setting when it is made, before its own overrides are laid over the user's.
    assert setting.pixels == plain.pixels


def test_extra_noise(img2img):
    extra = img2img(override_settings={"img2img_extra_noise": 0.2})
    assert extra.fields["Extra noise"] == "0.2"
    assert extra.pixels != img2img().pixels


def test_image_guidance_is_for_other_models(img2img):
    assert img2img(image_cfg_scale=2.5).pixels == img2img().pixels
    assert "Image CFG scale" not in img2img(image_cfg_scale=2.5).fields


def test_copies_before_color_correction(img2img, data_dir):
    before = set(data_dir.rglob("*-before-color-correction.png"))
    overrides = {"img2img_color_correction": True, "save_images_before_color_correction": True}
    corrected = img2img(save_images=True, override_settings=overrides)
    (path,) = set(data_dir.rglob("*-before-color-correction.png")) - before
    with Image.open(path) as copy:
        assert distance(copy, img2img().images[0]) == 0
        assert distance(copy, corrected.images[0]) > 0


def test_init_picture_is_kept_and_named_by_its_hash(img2img, data_dir):
    result = img2img(override_settings={"save_init_img": True})
    expected = hashlib.md5(decoded(FACE).convert("RGB").tobytes(), usedforsecurity=False).hexdigest()
    assert result.fields["Init image hash"] == expected
    assert list(data_dir.rglob(f"{expected}.*"))


def test_parameters_hold_the_pictures_only_if_asked_for(img2img):
    without = img2img(mask=MASK, steps=1).parameters
    assert without["init_images"] is without["mask"] is None
    included = img2img(mask=MASK, steps=1, include_init_images=True).parameters
    assert (included["init_images"], included["mask"]) == ([FACE], MASK)
    assert included["denoising_strength"] == 0.6


def test_pictures_are_not_sent_if_not_asked_for(client):
    body = api_jobs.SMALL | {"init_images": [FACE], "send_images": False, "steps": 1}
    answer = client.post("/sdapi/v1/img2img", json=body).json()
    assert answer["images"] == []
    assert json.loads(answer["info"])["infotexts"]


def test_settings_after_all_of_it(img2img):
    before = dict(shared.opts.data)
    img2img(**MASKED, override_settings={"return_mask": True, "img2img_color_correction": True})
    assert shared.opts.data == before
