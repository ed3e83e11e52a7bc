"""Requests for absurd sizes and numbers are refused by name, before memory is taken for them."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from modules import images, postprocessing, prompt_parser, scripts, shared
from modules.styles import PromptStyle
from test.quality import api_jobs

LARGEST = 64_000_000
"""Pixels of the largest image that a test may make: none of these asks for anything near it."""


@pytest.fixture(autouse=True)
def no_memory(monkeypatch):
    """Fails where an image is made that is larger than any of these requests may have."""
    new, resize = Image.new, Image.Image.resize

    def checked_new(mode, size, *args, **kwargs):
        assert size[0] * size[1] <= LARGEST
        return new(mode, size, *args, **kwargs)

    def checked_resize(self, size, *args, **kwargs):
        assert size[0] * size[1] <= LARGEST
        return resize(self, size, *args, **kwargs)

    monkeypatch.setattr(Image, "new", checked_new)
    monkeypatch.setattr(Image.Image, "resize", checked_resize)


def picture(width=16, height=16):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def assert_refused(response, field):
    """It is a 422 that names the field."""
    assert response.status_code == 422, response.text[:500]
    body = response.json()
    assert field in (body.get("field"), *(row["loc"][-1] for row in body["detail"] if isinstance(row, dict)))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"upscaling_resize": 1000}, "upscaling_resize"),
        ({"upscaling_resize": 513}, "upscaling_resize"),
        ({"resize_mode": 1, "upscaling_resize_w": 100000, "upscaling_resize_h": 100000}, "upscaling_resize_w"),
        ({"resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 8193}, "upscaling_resize_h"),
        ({"resize_mode": 1, "upscaling_resize_w": 10**30}, "upscaling_resize_w"),
    ],
)
@pytest.mark.parametrize("upscaler", ["Lanczos", "None"])
def test_extras(client, fields, field, upscaler):
    body = fields | {"upscaler_1": upscaler}
    assert_refused(client.post("/sdapi/v1/extra-single-image", json=body | {"image": picture()}), field)
    batch = {"imageList": [{"data": picture(), "name": "a"}]}
    assert_refused(client.post("/sdapi/v1/extra-batch-images", json=body | batch), field)


@pytest.mark.parametrize("factor", ["Infinity", "NaN", "-1", "0", "1e400"])
def test_factors_that_are_no_numbers(client, factor):
    body = f'{{"image": "{picture()}", "upscaler_1": "Lanczos", "upscaling_resize": {factor}}}'
    headers = {"content-type": "application/json"}
    assert_refused(client.post("/sdapi/v1/extra-single-image", content=body, headers=headers), "upscaling_resize")


def test_extras_of_a_thin_image(client):
    body = {"image": picture(1, 2000), "resize_mode": 1, "upscaling_resize_w": 8000, "upscaling_resize_h": 8000}
    assert_refused(client.post("/sdapi/v1/extra-single-image", json=body), "upscaling_resize_w")


def test_extras_of_many_images(client, settings):
    settings(api_max_images=3, api_max_size=64)
    entry = {"data": picture(32, 32), "name": "a"}
    assert_refused(client.post("/sdapi/v1/extra-batch-images", json={"imageList": [entry] * 4}), "imageList")
    settings(api_max_images=100)
    body = {"imageList": [entry] * 40, "upscaling_resize": 2}  # each is small enough, all together are not
    assert_refused(client.post("/sdapi/v1/extra-batch-images", json=body), "imageList")


@pytest.mark.parametrize(
    "arguments",
    [{"upscaling_resize": 10000}, {"resize_mode": 1, "upscaling_resize_h": 99999}],
)
def test_extras_of_the_page(program, arguments):
    defaults = {"upscaling_resize": 1, "upscaling_resize_w": 8, "upscaling_resize_h": 8, "resize_mode": 0}
    with pytest.raises(Exception, match="api_max_size"):
        postprocessing.run_extras(
            extras_mode=0,
            image=Image.new("RGB", (16, 16)),
            image_folder="",
            input_dir="",
            output_dir="",
            show_extras_results=True,
            gfpgan_visibility=0,
            codeformer_visibility=0,
            codeformer_weight=0,
            upscaling_crop=True,
            extras_upscaler_1="Lanczos",
            extras_upscaler_2="None",
            extras_upscaler_2_visibility=0,
            upscale_first=False,
            save_output=False,
            **defaults | arguments,
        )


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_resizing_of_a_thin_image(program, mode):
    thin = Image.new("RGB", (1, 4000))
    if mode == 1:
        with pytest.raises(Exception, match="megapixels"):
            images.resize_image(mode, thin, 8000, 8000, upscaler_name="None")
    else:
        assert images.resize_image(mode, thin, 80, 80, upscaler_name="None").size == (80, 80)


SCRIPTS = [
    ("sd upscale", [None, 8, "Lanczos", 10000.0]),
    ("sd upscale", [None, 63, "Lanczos", 60.0]),  # a tile for each pixel
    ("outpainting mk2", [None, 100000, 8, ["left"], 1.0, 0.05]),
    ("outpainting mk2", [None, 8, 10**9, ["left"], 1.0, 0.05]),
    ("poor man's outpainting", [100000, 4, 0, ["left", "up"]]),
    ("poor man's outpainting", [63, 4, 0, ["left", "right", "up", "down"]]),
    ("loopback", [10**9, 0.5, "Linear", "None"]),
]


@pytest.mark.parametrize(("script", "args"), SCRIPTS)
def test_scripts_of_img2img(client, settings, script, args):
    settings(api_max_images=100)
    body = api_jobs.SMALL | {"init_images": [api_jobs.FACE], "script_name": script, "script_args": args, "n_iter": 1}
    assert_refused(client.post("/sdapi/v1/img2img", json=body | {"width": 64, "height": 64}), "script_args")


def plot(x_type, x_values, y_values="", margin=0):
    x, y, z = [x_type, x_values, []], [0, y_values, []], [0, "", []]
    return [*x, *y, *z, True, True, False, False, False, False, False, margin, True]


@pytest.mark.parametrize(
    "args",
    [
        plot(1, "1-1000000000"),
        plot(1, "1-5 [1000000000]"),
        plot(1, "1-99999999999999999999999 (+1)"),
        plot(3, "0-1 (+0.0000000001)"),
        plot(3, "0-1 [1000000000]"),
        plot(1, ",".join(["1-900"] * 9)),
        plot(1, "1-3", margin=10**6),
    ],
)
def test_plots(client, args):
    body = api_jobs.SMALL | {"script_name": "x/y/z plot", "script_args": args}
    assert_refused(client.post("/sdapi/v1/txt2img", json=body), "script_args")


def test_sizes_and_orders_of_a_plot(client):
    labels = [option.label for option in scripts_of("x/y/z plot")[0].current_axis_options]
    for label, values in (("Size", "64x64,100000x100000"), ("Prompt order", ",".join("abcdefghijklm"))):
        body = {"script_name": "x/y/z plot", "script_args": plot(labels.index(label), values)}
        assert_refused(client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | body), "script_args")


def scripts_of(title):
    return [script for script in scripts.scripts_txt2img.selectable_scripts if script.title().lower() == title]


def test_prompt_matrix(client):
    body = {"prompt": "a" + "|b" * 30, "script_name": "prompt matrix"}
    args = [False, False, "positive", "comma", 0]
    assert_refused(client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | body | {"script_args": args}), "prompt")
    body |= {"prompt": "a|b", "script_args": [False, False, "positive", "comma", 10**6]}
    assert_refused(client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | body), "script_args")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("--prompt cat --width 100000", "width"),
        ("--prompt cat --height 100000", "height"),
        ("--prompt cat --n_iter 100000000", "n_iter"),
        ("--prompt cat --batch_size 100000000", "batch_size"),
        ("--prompt cat --steps 100000000", "steps"),
        ("\n".join(["cat"] * 2000), "script_args"),
    ],
)
def test_prompts_from_file(client, line, field):
    body = {"script_name": "prompts from file or textbox", "script_args": [False, False, "start", line]}
    assert_refused(client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | body), field)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": "cat, " * 200_000}, "prompt"),
        ({"negative_prompt": "cat, " * 20_000}, "negative_prompt"),
        ({"prompt": "a" + " AND a" * 2000}, "prompt"),
        ({"prompt": "[a|b] " + "cat " * 2000, "steps": 1000}, "prompt"),
        ({"n_iter": 1000, "batch_size": 64}, "n_iter"),
        ({"enable_hr": True, "hr_scale": 200, "denoising_strength": 0.5}, "hr_scale"),
        ({"enable_hr": True, "hr_prompt": "cat, " * 200_000, "denoising_strength": 0.5}, "hr_prompt"),
    ],
)
def test_txt2img(client, monkeypatch, fields, field):
    monkeypatch.setattr(prompt_parser, "get_learned_conditioning", lambda *args: pytest.fail("it is encoded"))
    assert_refused(client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | fields), field)


def test_styles_count_too(client, monkeypatch):
    monkeypatch.setitem(shared.prompt_styles.styles, "long", PromptStyle("long", "{prompt}" + " AND cat" * 100, ""))
    assert_refused(client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | {"styles": ["long"]}), "prompt")


def test_many_init_images(client, settings):
    settings(api_max_size=64)
    body = api_jobs.SMALL | {"width": 64, "height": 64, "init_images": [picture(200, 200)] * 2}
    assert_refused(client.post("/sdapi/v1/img2img", json=body), "init_images")
    body |= {"init_images": [picture(65, 64)], "resize_mode": 3}
    assert_refused(client.post("/sdapi/v1/img2img", json=body), "init_images")


@pytest.mark.parametrize("name", ["h5", "xyz", "grib"])
def test_formats_that_cannot_be_written(client, settings, name):
    override = {"override_settings": {"samples_format": name}}
    assert_refused(client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | override), "samples_format")
    settings(samples_format=name)
    assert_refused(client.post("/sdapi/v1/extra-single-image", json={"image": picture()}), "samples_format")


def test_a_preview_whose_name_is_no_path(client):
    response = client.get("/sd_extra_networks/thumb?filename=a%00b.png")
    assert response.status_code == 422
    assert "filename" in response.json()["detail"]


def test_a_text_that_no_file_can_hold(client):
    body = api_jobs.SMALL | {"save_images": True}
    text = json.dumps(body | {"prompt": "CAT"}).replace("CAT", "\\ud800 cat")
    response = client.post("/sdapi/v1/txt2img", content=text, headers={"content-type": "application/json"})
    assert response.status_code == 200
    assert json.loads(response.json()["info"])["prompt"] == "? cat"


def test_strengths_that_are_no_numbers(client):
    body = api_jobs.SMALL | {"init_images": [picture()], "script_name": "loopback"}
    text = json.dumps(body | {"script_args": [2, "N", "Linear", "None"]}).replace('"N"', "NaN")
    response = client.post("/sdapi/v1/img2img", content=text, headers={"content-type": "application/json"})
    assert_refused(response, "denoising_strength")
