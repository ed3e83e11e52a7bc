"""The hires pass: its size, start, prompts, sampler and schedule, and what the infotext says of it."""

from __future__ import annotations

import pytest
from PIL import Image

from modules import scripts, shared
from test.quality.api_jobs import FACE, SMALL, distance, fields_of

HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6, "hr_upscaler": "Latent"}


@pytest.fixture
def refused(client):
    return lambda **fields: client.post("/sdapi/v1/txt2img", json=SMALL | HIRES | fields)


@pytest.mark.parametrize(
    ("fields", "size", "key", "value"),
    [
        ({"hr_scale": 1.5}, (96, 96), "Hires upscale", "1.5"),
        ({"hr_scale": 1.3}, (80, 80), "Hires upscale", "1.3"),
        ({"hr_resize_x": 96}, (96, 96), "Hires resize", "96x0"),
        ({"hr_resize_y": 120}, (120, 120), "Hires resize", "0x120"),
        ({"hr_resize_x": 128, "hr_resize_y": 96}, (128, 96), "Hires resize", "128x96"),
        ({"hr_resize_x": 64, "hr_resize_y": 104}, (64, 104), "Hires resize", "64x104"),
        ({"width": 64, "height": 96, "hr_resize_x": 128}, (128, 192), "Hires resize", "128x0"),
    ],
    ids=str,
)
@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_size(txt2img, upscaler, fields, size, key, value):
    result = txt2img(**HIRES | {"hr_upscaler": upscaler} | fields)
    assert result.images[0].size == size
    assert result.fields[key] == value
    assert ("Hires upscale" in result.fields) != ("Hires resize" in result.fields)


def test_legacy_first_phase_size(txt2img):
    """width and height are of the first pass then, and hr_scale still decides."""
    result = txt2img(**HIRES, width=128, height=128, firstphase_width=64, firstphase_height=64)
    assert result.images[0].size == (96, 96)
    assert result.fields["Size"] == "64x64"


@pytest.mark.parametrize(
    "upscaler",
    [
        "Latent",
        "Latent (antialiased)",
        "Latent (bicubic)",
        "Latent (bicubic antialiased)",
        "Latent (nearest)",
        "Latent (nearest-exact)",
        "None",
        "Lanczos",
        "Nearest",
    ],
)
def test_every_upscaler_that_needs_no_file(txt2img, upscaler):
    result = txt2img(**HIRES | {"hr_upscaler": upscaler})
    assert result.fields["Hires upscaler"] == upscaler
    if upscaler != "Latent":
        assert result.pixels != txt2img(**HIRES).pixels or upscaler == "Latent (antialiased)"  # antialias: only down


def test_no_upscaler_named_means_latent(txt2img):
    result = txt2img(**HIRES | {"hr_upscaler": None})
    assert result.pixels == txt2img(**HIRES).pixels
    assert "Hires upscaler" not in result.fields


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"hr_upscaler": "no such"}, 404, "hr_upscaler"),
        ({"hr_checkpoint_name": "no such"}, 404, "hr_checkpoint_name"),
        ({"hr_resize_x": 4}, 422, "hr_resize_x"),
        ({"hr_scale": 0.05}, 422, "hr_scale"),
        ({"hr_scale": 1000}, 422, "hr_scale"),
        ({"denoising_strength": None}, 422, "denoising_strength"),
        ({"hr_sampler_name": "no such"}, 422, "hr_sampler_name"),
        ({"hr_sampler_name": "DPM++ 2M no such"}, 422, "hr_sampler_name"),
    ],
    ids=str,
)
def test_what_can_not_be_made_is_refused(refused, fields, status, field):
    response = refused(**fields)
    assert (response.status_code, response.json().get("field")) == (status, field), response.text


def test_steps_of_the_second_pass(txt2img):
    own = txt2img(**HIRES, hr_second_pass_steps=4)
    assert own.fields["Hires steps"] == "4"
    assert own.pixels != txt2img(**HIRES).pixels
    assert "Hires steps" not in txt2img(**HIRES, hr_second_pass_steps=0).fields


def test_strength_zero_only_enlarges(txt2img):
    first = txt2img()
    enlarged = txt2img(**HIRES | {"hr_upscaler": "Lanczos", "denoising_strength": 0})
    assert distance(enlarged.images[0], first.images[0].resize((96, 96))) < 12
    assert enlarged.fields["Denoising strength"] == "0.0"


def test_sampler_and_schedule_of_the_second_pass(txt2img):
    plain = txt2img(**HIRES)
    own = txt2img(**HIRES, hr_sampler_name="Euler a", hr_scheduler="Karras")
    assert (own.fields["Hires sampler"], own.fields["Hires schedule type"]) == ("Euler a", "Karras")
    assert own.pixels != plain.pixels
    same = txt2img(**HIRES, hr_sampler_name="Euler", hr_scheduler="Automatic")
    assert same.pixels == plain.pixels
    assert not {"Hires sampler", "Hires schedule type"} & set(same.fields)


def test_schedule_of_the_first_pass_holds_for_the_second(txt2img):
    both = txt2img(**HIRES, scheduler="Karras")
    assert both.pixels == txt2img(**HIRES, scheduler="Karras", hr_scheduler="Karras").pixels
    assert both.pixels != txt2img(**HIRES, scheduler="Karras", hr_scheduler="Exponential").pixels
    assert "Hires schedule type" not in both.fields


def test_old_name_and_entries_of_the_menus(txt2img):
    old, new = (
        txt2img(**HIRES, hr_sampler_name="DPM++ 2M Karras"),
        txt2img(**HIRES, hr_sampler_name="DPM++ 2M", hr_scheduler="Karras"),
    )
    assert old.pixels == new.pixels
    assert (old.fields["Hires sampler"], old.fields["Hires schedule type"]) == ("DPM++ 2M", "Karras")
    same = txt2img(**HIRES, hr_sampler_name="Use same sampler", hr_scheduler="Use same scheduler")
    assert same.pixels == txt2img(**HIRES).pixels


def test_samplers_of_two_kinds(txt2img):
    result = txt2img(**HIRES, hr_sampler_name="DDIM")
    assert result.images[0].size == (96, 96) and result.fields["Hires sampler"] == "DDIM"
    back = txt2img(**HIRES | {"sampler_name": "DDIM"}, hr_sampler_name="DPM++ 2M")
    assert back.fields["Hires schedule type"] == "Karras"


def test_prompts_of_the_second_pass(txt2img):
    plain = txt2img(**HIRES, negative_prompt="blue")
    own = txt2img(**HIRES, negative_prompt="blue", hr_prompt="green pear", hr_negative_prompt="red, yellow")
    assert own.pixels != plain.pixels
    assert (own.fields["Hires prompt"], own.fields["Hires negative prompt"]) == ("green pear", '"red, yellow"')
    same = txt2img(**HIRES, negative_prompt="blue", hr_prompt="red apple", hr_negative_prompt="blue")
    assert same.pixels == plain.pixels
    assert not {"Hires prompt", "Hires negative prompt"} & set(same.fields)


def test_styles_are_applied_to_both_prompts(txt2img):
    name = next(name for name, style in shared.prompt_styles.styles.items() if style.prompt)
    result = txt2img(**HIRES, styles=[name], hr_prompt="green pear")
    styled = shared.prompt_styles.apply_styles_to_prompt("green pear", [name])
    assert result.fields["Hires prompt"].strip('"') == styled
    assert result.info["all_prompts"] == [shared.prompt_styles.apply_styles_to_prompt("red apple", [name])]


def test_hires_infotexts_of_a_batch(txt2img):
    result = txt2img(**HIRES, batch_size=2, n_iter=2, hr_prompt="pear", override_settings={"return_grid": False})
    assert [fields_of(text)["Seed"] for text in result.infotexts] == ["1", "2", "3", "4"]
    assert all(fields_of(text)["Hires prompt"] == "pear" for text in result.infotexts)


def test_prompt_editing_goes_on_in_the_second_pass(txt2img):
    """Numbers with a point above 1 mean the second pass."""
    edited = txt2img(**HIRES, prompt="red [apple:car:1.5]", steps=4)
    unedited = txt2img(**HIRES, prompt="red apple", steps=4)
    assert edited.pixels != unedited.pixels
    late = txt2img(prompt="red [apple:car:1.5]", steps=4)
    assert late.pixels == txt2img(prompt="red apple", steps=4).pixels


def test_batch_equals_single_runs(txt2img):
    batch = txt2img(**HIRES, batch_size=2, override_settings={"return_grid": False})
    singles = [txt2img(**HIRES, seed=seed).images[0] for seed in (1, 2)]
    assert max(distance(a, b) for a, b in zip(batch.images, singles, strict=True)) < 0.1


def test_copies_before_the_second_pass(txt2img, data_dir):
    """Saved by its own setting, and only with the pictures themselves."""
    before = set(data_dir.rglob("*-before-highres-fix.png"))
    overrides = {"save_images_before_highres_fix": True}
    for upscaler in ("Latent", "Lanczos"):
        txt2img(**HIRES | {"hr_upscaler": upscaler}, save_images=True, override_settings=overrides)
    txt2img(**HIRES, override_settings=overrides)
    new = sorted(set(data_dir.rglob("*-before-highres-fix.png")) - before)
    assert len(new) == 2
    first = txt2img()
    for path in new:
        with Image.open(path) as image:
            assert image.size == (64, 64)
            assert distance(image, first.images[0]) < 1
            assert "Hires upscaler" in image.text["parameters"]


def test_picture_in_place_of_the_first_pass(txt2img):
    for upscaler in ("Latent", "Lanczos"):
        given = txt2img(**HIRES | {"hr_upscaler": upscaler}, firstpass_image=FACE, width=64, height=64, batch_size=2)
        assert [image.size for image in given.images] == [(96, 96), (96, 96)]
        assert given.pixels[0] != txt2img(**HIRES | {"hr_upscaler": upscaler}).pixels[0]


def test_prompt_lists_of_an_extension(txt2img, monkeypatch):
    """A hook may give every picture its own prompts, as dynamic prompts do."""

    def process(runner, p):
        p.all_prompts = ["red apple", "green pear"]
        p.all_hr_prompts = ["red apple", "blue plum"]

    monkeypatch.setattr(scripts.ScriptRunner, "process", process)
    both = txt2img(**HIRES, batch_size=2, override_settings={"return_grid": False})
    assert [text.split("\n")[0] for text in both.infotexts] == ["red apple", "green pear"]
    assert "Hires prompt" not in fields_of(both.infotexts[0])
    assert fields_of(both.infotexts[1])["Hires prompt"] == "blue plum"


@pytest.mark.parametrize(("keys", "size"), [("", (64, 64)), (", Denoising strength: 0.5", (128, 128))])
def test_an_infotext_with_a_denoising_strength_asks_for_the_pass(txt2img, keys, size):
    text = f"red apple\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64{keys}"
    assert txt2img(infotext=text).images[0].size == size
