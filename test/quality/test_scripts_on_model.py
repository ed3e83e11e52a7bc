"""Scripts in real jobs of the embedded model, through the REST API."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from modules import script_ui, scripts, shared
from test.model_hooks import job_hooks

INPUTS = Path(__file__).resolve().parent.parent / "golden" / "inputs"

TXT2IMG = {"prompt": "red apple", "width": 64, "height": 64, "steps": 2, "seed": 1, "sampler_name": "Euler"}


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


FACE = Image.open(INPUTS / "face128.png").convert("RGB")
IMG2IMG = {**TXT2IMG, "width": 128, "height": 128, "init_images": [encoded(FACE)], "denoising_strength": 0.6}


@pytest.fixture
def request_pictures(client):
    def send(tab, base, **fields):
        response = client.post(f"/sdapi/v1/{tab}", json={**base, **fields})
        assert response.status_code == 200, response.text
        body = response.json()
        pictures = [Image.open(io.BytesIO(base64.b64decode(text))) for text in body["images"]]
        return pictures, json.loads(body["info"])

    return send


def distance(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


def is_tiled(model) -> bool:
    """Whether a layer of the U-Net or the VAE has hooks; transformers leaves its own in the text encoder."""
    return bool(job_hooks(model.model) or job_hooks(model.first_stage_model))


@pytest.fixture
def script_error(client):
    def send(tab="txt2img", **fields):
        base = TXT2IMG if tab == "txt2img" else IMG2IMG
        return client.post(f"/sdapi/v1/{tab}", json={**base, **fields})

    return send


def test_script_info_describes_all_scripts(client):
    rows = client.get("/sdapi/v1/script-info").json()
    names = {(row["name"], row["is_img2img"]): row for row in rows}
    assert {"x/y/z plot", "prompt matrix", "seed", "sampler", "refiner"} <= {name for name, _ in names}
    assert names["soft inpainting", True]["is_alwayson"] is True
    assert ("soft inpainting", False) not in names
    overlap = names["sd upscale", True]["args"][1]
    assert (overlap["label"], overlap["value"], overlap["minimum"], overlap["maximum"]) == ("Tile overlap", 64, 0, 256)
    assert names["prompt matrix", False]["args"][2]["choices"] == ["positive", "negative"]


def test_scripts_are_listed_by_tab(client):
    lists = client.get("/sdapi/v1/scripts").json()
    assert "loopback" in lists["img2img"]
    assert "loopback" not in lists["txt2img"]


def test_arguments_left_out_have_their_defaults(request_pictures):
    short = ["positive", "comma", 0]
    given, _ = request_pictures("txt2img", TXT2IMG, prompt="red|apple", script_name="prompt matrix", script_args=[])
    whole, _ = request_pictures(
        "txt2img", TXT2IMG, prompt="red|apple", script_name="prompt matrix", script_args=[False, False, *short]
    )
    long, _ = request_pictures(
        "txt2img", TXT2IMG, prompt="red|apple", script_name="prompt matrix", script_args=[False, False, *short, "more"]
    )
    assert len(given) == 3
    assert all(distance(a, b) == distance(a, c) == 0 for a, b, c in zip(given, whole, long, strict=True))


def test_sampler_axis_runs_what_it_says(request_pictures):
    rest = [0, "", [], 0, "", [], False, True, False, False, False, False, False, 0, True]
    typed, info = request_pictures(
        "txt2img", TXT2IMG, script_name="X/Y/Z plot", script_args=[9, "euler a, k_heun", [], *rest]
    )
    heun, _ = request_pictures("txt2img", TXT2IMG, sampler_name="Heun")
    euler_a, _ = request_pictures("txt2img", TXT2IMG, sampler_name="Euler a")
    assert distance(typed[1], euler_a[0]) == distance(typed[2], heun[0]) == 0
    assert "Sampler: Euler a" in info["infotexts"][1] and "Sampler: Heun" in info["infotexts"][2]


@pytest.mark.parametrize("args", [[9, "", ["no such sampler"]], [4, "many", []], [8, "pear, apple", []]])
def test_bad_axis_is_bad_input(script_error, args):
    rest = [0, "", [], 0, "", [], False, True, False, False, False, False, False, 0, False]
    index = {8: 7}.get(args[0], args[0])
    response = script_error("txt2img", script_name="X/Y/Z plot", script_args=[index, *args[1:], *rest])
    assert response.status_code == 422
    assert response.json()["field"] == "script_args"


@pytest.mark.parametrize(
    ("tab", "name", "args"),
    [
        ("txt2img", "x/y/z plot", [99]),
        ("txt2img", "x/y/z plot", ["Seed"]),
        ("txt2img", "x/y/z plot", [4, 6]),
        ("txt2img", "prompt matrix", [False, False, ["positive"]]),
        ("txt2img", "prompt matrix", [False, False, "positive", "comma", None]),
        ("txt2img", "prompts from file or textbox", [False, False, "start", None]),
        ("img2img", "loopback", ["many"]),
        ("img2img", "sd upscale", ["", None]),
        ("img2img", "sd upscale", ["", -16]),
        ("img2img", "sd upscale", ["", 16, 1.5]),
        ("img2img", "outpainting mk2", ["", 64, {}]),
        ("img2img", "poor man's outpainting", [64, 4, "fill", 5]),
        ("img2img", "img2img alternative test", ["", True, True, "", "", True, 0]),
    ],
    ids=str,
)
def test_bad_script_argument_is_bad_input(script_error, tab, name, args):
    response = script_error(tab, script_name=name, script_args=args)
    assert response.status_code == 422, response.text


def test_what_python_takes_for_a_switch_is_taken(request_pictures):
    request_pictures("txt2img", TXT2IMG, prompt="red|apple", script_name="prompt matrix", script_args=[None, 1])


def test_plot_equals_single_pictures(request_pictures):
    rest = [0, "", [], 0, "", [], False, True, False, False, False, False, False, 0, False]
    pictures, info = request_pictures("txt2img", TXT2IMG, script_name="X/Y/Z plot", script_args=[4, "1,2", [], *rest])
    assert [picture.size for picture in pictures] == [(128, 64), (64, 64), (64, 64)]
    for picture, steps in zip(pictures[1:], (1, 2), strict=True):
        single, _ = request_pictures("txt2img", TXT2IMG, steps=steps)
        assert distance(picture, single[0]) == 0
    assert info["index_of_first_image"] == 1


def test_settings_of_a_plot_end_with_it(request_pictures):
    before = dict(shared.opts.data)
    axes = [24, "1,2", [], 0, "", [], 0, "", []]
    assert scripts.scripts_txt2img.script("X/Y/Z plot").current_axis_options[24].label == "Clip skip"
    _, info = request_pictures(
        "txt2img",
        TXT2IMG,
        script_name="X/Y/Z plot",
        script_args=[*axes, False, True, False, False, False, False, False, 0, False],
    )
    assert "Clip skip: 2" in info["infotexts"][2]
    assert shared.opts.data == before


def test_hypertile_tiles_and_leaves_no_trace(request_pictures):
    large = {**TXT2IMG, "width": 512, "height": 256, "steps": 1}
    plain, _ = request_pictures("txt2img", large)
    settings = {"hypertile_enable_unet": True, "hypertile_enable_vae": True, "hypertile_swap_size_unet": 1}
    settings["hypertile_max_tile_unet"] = 128
    tiled, info = request_pictures("txt2img", large, override_settings=settings)
    again, _ = request_pictures("txt2img", large)
    keys = (
        "Hypertile U-Net: True, Hypertile U-Net max tile size: 128, Hypertile U-Net swap size: 1, Hypertile VAE: True"
    )
    assert keys in info["infotexts"][0]
    assert distance(plain[0], tiled[0]) > 0
    assert distance(plain[0], again[0]) == 0
    assert not is_tiled(shared.sd_model)


def test_hypertile_in_the_hires_pass_only(request_pictures):
    hires = {**TXT2IMG, "enable_hr": True, "hr_scale": 4, "hr_second_pass_steps": 1, "denoising_strength": 0.5}
    _, info = request_pictures("txt2img", hires, override_settings={"hypertile_enable_unet_secondpass": True})
    assert "Hypertile U-Net second pass: True" in info["infotexts"][0]
    assert "Hypertile U-Net: True" not in info["infotexts"][0]
    assert not is_tiled(shared.sd_model)


def test_hypertile_is_among_the_axes(client):
    from modules import script_callbacks

    module = next(data.module for data in scripts.scripts_data if data.path.endswith("hypertile_script.py"))
    xyz = next(data.module for data in scripts.scripts_data if data.path.endswith("xyz_grid.py"))
    assert any(
        callback.callback is module.add_axis_options for callback in script_callbacks.ordered_callbacks("before_ui")
    )
    labels = [option.label for option in xyz.axis_options]
    assert sum(label.startswith("[Hypertile]") for label in labels) == 9
    assert labels.index("[Hypertile] Unet First pass Enabled") == 45


def test_recovered_noise_gives_the_picture_back(request_pictures):
    args = ["", True, True, "face", "", True, 30, True, 1.0, 0.0, False]
    pictures, info = request_pictures(
        "img2img", IMG2IMG, cfg_scale=1, script_name="img2img alternative test", script_args=args
    )
    other, _ = request_pictures("img2img", IMG2IMG, prompt="face", steps=30, cfg_scale=1, denoising_strength=1.0)
    assert distance(pictures[0], FACE) < distance(other[0], FACE) / 2
    assert "Decode prompt: face" in info["infotexts"][0]


@pytest.mark.parametrize(("randomness", "adjusted"), [(1.0, False), (0.0, True)])
def test_noise_may_be_random_or_adjusted(request_pictures, randomness, adjusted):
    args = ["", True, False, "face", "blue", True, 3, False, 2.0, randomness, adjusted]
    pictures, info = request_pictures("img2img", IMG2IMG, script_name="img2img alternative test", script_args=args)
    assert pictures[0].size == (128, 128)
    assert f"Randomness: {randomness}, Sigma Adjustment: {adjusted}" in info["infotexts"][0]


def soft_mask() -> Image.Image:
    mask = Image.new("L", (128, 128))
    mask.paste(255, (32, 32, 96, 96))
    return mask.filter(ImageFilter.GaussianBlur(12))


SOFT = {"Soft inpainting": {"args": [True, 1, 0.5, 4, 0, 0.5, 2]}}


@pytest.mark.parametrize("full_res", [False, True])
def test_soft_inpainting_keeps_what_is_outside(request_pictures, full_res):
    request = {**IMG2IMG, "mask": encoded(soft_mask()), "mask_blur": 4, "inpaint_full_res": full_res}
    request |= {"inpainting_fill": 1, "denoising_strength": 0.9}
    hard, _ = request_pictures("img2img", request)
    soft, info = request_pictures("img2img", request, alwayson_scripts=SOFT)
    assert "Soft inpainting enabled: True, Soft inpainting schedule bias: 1" in info["infotexts"][0]
    assert soft[0].size == FACE.size
    assert distance(soft[0], hard[0]) > 0
    corner = (0, 0, 8, 8)
    assert distance(soft[0].crop(corner), FACE.crop(corner)) < 2


def test_soft_inpainting_of_a_batch(request_pictures):
    request = {**IMG2IMG, "mask": encoded(soft_mask()), "batch_size": 2, "inpaint_full_res": False}
    pictures, _ = request_pictures("img2img", request, alwayson_scripts=SOFT, override_settings={"return_grid": False})
    assert len(pictures) == 2
    assert distance(*pictures) > 0


def test_soft_inpainting_without_mask_changes_nothing(request_pictures):
    plain, _ = request_pictures("img2img", IMG2IMG)
    soft, info = request_pictures("img2img", IMG2IMG, alwayson_scripts=SOFT)
    assert distance(plain[0], soft[0]) == 0
    assert "Soft inpainting" not in info["infotexts"][0]


def test_always_on_arguments_may_be_few(request_pictures):
    plain, _ = request_pictures("txt2img", TXT2IMG)
    same, _ = request_pictures("txt2img", TXT2IMG, alwayson_scripts={"SEED": {"args": [99]}, "refiner": {"args": []}})
    assert distance(plain[0], same[0]) == 0


def test_comments_do_not_reach_the_model(request_pictures):
    plain, _ = request_pictures("txt2img", TXT2IMG, prompt="red apple \n")
    commented, info = request_pictures("txt2img", TXT2IMG, prompt="red apple # blue car")
    assert distance(plain[0], commented[0]) == 0
    assert "blue car" not in info["infotexts"][0]


def test_page_values_make_the_same_picture_as_the_request(client, request_pictures):
    """The form's scripts set the job up from the page's values as the API does from fields."""
    from contextlib import closing

    from modules import processing

    runner = scripts.scripts_txt2img
    args = tuple(script_ui.default_args(runner))
    for name, value in (("txt2img_steps", 2), ("txt2img_sampling", "Euler"), ("txt2img_scheduler", "Karras")):
        args = runner.set_named_arg(args, "sampler", name, value)
    args = runner.set_named_arg(args, "seed", "txt2img_seed", 1)
    p = processing.StableDiffusionProcessingTxt2Img(prompt="red apple", width=64, height=64)
    with closing(p):
        p.do_not_save_samples = p.do_not_save_grid = True
        p.scripts = runner
        p.script_args = args
        shared.state.begin("test")
        processed = processing.process_images(p)
        shared.state.end()
    pictures, info = request_pictures("txt2img", TXT2IMG, scheduler="Karras")
    assert distance(processed.images[0], pictures[0]) == 0
    assert processed.infotexts == info["infotexts"]


LEFT_OVER = {"inpainting_mask_invert": 1, "inpaint_full_res": True, "inpainting_fill": 3, "mask_blur": 20}
"""Values of the Inpaint sub-tab that a script which makes its own mask must not heed."""


@pytest.mark.parametrize(
    ("name", "args"),
    [("outpainting mk2", ["", 64, 8, ["right"], 1.0, 0.05]), ("poor man's outpainting", [64, 4, 0, ["right"]])],
)
def test_values_left_over_in_another_sub_tab_do_not_reach_outpainting(request_pictures, name, args):
    fields = {"script_name": name, "script_args": args}
    (plain,), info = request_pictures("img2img", IMG2IMG, **fields)
    (same,), other_info = request_pictures("img2img", IMG2IMG, **fields, **LEFT_OVER)
    assert distance(plain.crop((0, 0, 64, 128)), FACE.crop((0, 0, 64, 128))) < 3
    assert plain.tobytes() == same.tobytes()
    assert "Mask mode" not in other_info["infotexts"][0]
