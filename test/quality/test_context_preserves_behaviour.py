"""Requests give the same bytes with the context, without it, and with one that nobody can read from.

Compared are the API's body (pictures as base64, infotext, info), and the names and bytes of the files written.
"""

import json
import shutil

import pytest

from modules import processing, shared
from test.quality import golden

BASE = {
    "prompt": "red apple",
    "width": 64,
    "height": 64,
    "steps": 3,
    "seed": 7,
    "subseed": 8,
    "sampler_name": "Euler",
    "save_images": True,
}
SAMPLERS = (
    "DPM++ 2M|DPM++ SDE|DPM++ 2M SDE Heun|DPM++ 3M SDE|Euler a|LMS|Heun|DPM2 a|DPM fast|DPM adaptive|Restart|"
    "DDIM|DDIM CFG++|PLMS|UniPC|LCM"
)
FACE, MASK = golden.resolved("@file:inputs/face128.png"), golden.resolved("@file:inputs/mask-rect128.png")
INPAINT = {"init_images": [FACE], "mask": MASK, "denoising_strength": 0.7}

TXT2IMG = {
    **{f"sampler {name}": {"sampler_name": name} for name in SAMPLERS.split("|")},
    **{f"format {name}": {"override_settings": {"samples_format": name}} for name in ("png", "jpg", "webp", "avif")},
    "batch": {"batch_size": 2},
    "batches": {"n_iter": 2},
    "batches of two with a grid": {"batch_size": 2, "n_iter": 2, "override_settings": {"grid_format": "jpg"}},
    "no grid": {"batch_size": 2, "override_settings": {"return_grid": False, "grid_save": False}},
    "variation": {"subseed_strength": 0.4, "batch_size": 2},
    "prompt editing": {"prompt": "a [red apple:blue car:0.5] AND cat :0.3", "negative_prompt": "(green:1.3)"},
    "text files": {"override_settings": {"save_txt": True, "samples_filename_pattern": "[seed]-[prompt_words]"}},
    "hires": {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.7, "hr_upscaler": "Latent"},
    "hires pixels": {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.5, "hr_upscaler": "Lanczos"},
}
IMG2IMG = {
    "img2img": {"init_images": [FACE], "denoising_strength": 0.6},
    "img2img batch": {"init_images": [FACE], "denoising_strength": 0.6, "batch_size": 2},
    "inpaint": INPAINT | {"inpaint_full_res": False, "inpainting_fill": 1},
    "inpaint only masked": INPAINT | {"inpaint_full_res": True, "inpaint_full_res_padding": 8},
    "inpaint masks": INPAINT | {"override_settings": {"return_mask": True, "save_mask_composite": True}},
}
REQUESTS = [("/sdapi/v1/txt2img", name, BASE | row) for name, row in TXT2IMG.items()]
REQUESTS += [("/sdapi/v1/img2img", name, BASE | row) for name, row in IMG2IMG.items()]


class Unreadable:
    """A context whose every attribute raises."""

    def __init__(self, **fields):
        pass

    def __getattribute__(self, name):
        raise AssertionError(f"runtime_context.{name} was read")


SEAMS = {"without": lambda **fields: None, "unreadable": Unreadable}


def everything_of(client, data_dir, path, request) -> dict:
    """The answer and every file it wrote, by name."""
    outputs = data_dir / "outputs"
    shutil.rmtree(outputs, ignore_errors=True)
    response = client.post(path, json=request)
    assert response.status_code == 200, response.text
    body = response.json()
    body["info"] = {key: value for key, value in json.loads(body["info"]).items() if key != "job_timestamp"}
    files = {file.relative_to(outputs).as_posix(): file.read_bytes() for file in outputs.rglob("*") if file.is_file()}
    assert files
    return {"body": body, "files": files}


@pytest.mark.parametrize(("path", "name", "request_body"), REQUESTS, ids=[name for _, name, _ in REQUESTS])
def test_same_bytes(client, data_dir, monkeypatch, path, name, request_body):
    reference = everything_of(client, data_dir, path, request_body)
    for kind, seam in SEAMS.items():
        monkeypatch.setattr(processing, "RuntimeContext", seam)
        assert everything_of(client, data_dir, path, request_body) == reference, kind


def test_there_are_at_least_25_requests():
    assert len(REQUESTS) >= 25


@pytest.mark.parametrize("kind", [None, *SEAMS])
def test_settings_are_untouched_after_error_interrupt_and_override(client, monkeypatch, kind):
    if kind:
        monkeypatch.setattr(processing, "RuntimeContext", SEAMS[kind])
    before = dict(shared.opts.data)
    overridden = {"override_settings": {"CLIP_stop_at_last_layers": 2, "samples_format": "webp"}}

    client.post("/sdapi/v1/txt2img", json=BASE | overridden)
    assert shared.opts.data == before

    def broken(*args, **kwargs):
        raise RuntimeError("broken on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(processing, "create_infotext", broken)
        assert client.post("/sdapi/v1/txt2img", json=BASE | overridden).status_code == 500
    assert shared.opts.data == before
    assert shared.opts.samples_format == "png"

    with monkeypatch.context() as patch:
        patch.setattr(processing.StableDiffusionProcessingTxt2Img, "init", lambda self, *args: shared.state.interrupt())
        assert client.post("/sdapi/v1/txt2img", json=BASE | overridden).status_code == 200
    assert shared.opts.data == before
