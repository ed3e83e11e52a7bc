"""A job gives the same bytes whichever way it comes: as the values of a tab, as the body of an API call, as an object
that an extension has made, and as a request that has been pickled on its way.

Compared are the images, the infotexts, and the names and bytes of the files written.
"""

import html
import json
import pickle
import shutil
from contextlib import nullcontext
from dataclasses import fields
from types import SimpleNamespace

import pytest

from modules import call_queue, img2img, processing, scripts, shared, txt2img
from modules.api import generate, models
from modules.api.image_codec import decode_base64_to_image
from modules.processing_runner import ProcessingRunner
from modules.script_ui import default_args
from test.quality import golden

FACE, MASK = golden.resolved("@file:inputs/face128.png"), golden.resolved("@file:inputs/mask-rect128.png")
BASE = {
    "prompt": "red apple",
    "negative_prompt": "",
    "width": 64,
    "height": 64,
    "steps": 3,
    "seed": 7,
    "subseed": 8,
    "sampler_name": "Euler",
    "cfg_scale": 7.0,
    "batch_size": 1,
    "n_iter": 1,
}
HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.5}
TXT2IMG = {
    **{f"sampler {name}": {"sampler_name": name} for name in ("Euler a", "DPM++ 2M", "DDIM", "LCM")},
    **{f"format {name}": {"override_settings": {"samples_format": name}} for name in ("jpg", "webp")},
    "batch": {"batch_size": 2},
    "batches of two with a grid": {"batch_size": 2, "n_iter": 2},
    "prompt editing": {"prompt": "a [red apple:blue car:0.5] AND cat :0.3", "negative_prompt": "(green:1.3)"},
    "clip skip": {"override_settings": {"CLIP_stop_at_last_layers": 2}},
    "hires": HIRES | {"hr_upscaler": "Latent"},
    "hires pixels": HIRES | {"hr_upscaler": "Lanczos", "hr_second_pass_steps": 2, "hr_prompt": "green pear"},
}
IMG2IMG = {
    "img2img": {"denoising_strength": 0.6},
    "img2img batch": {"denoising_strength": 0.6, "batch_size": 2},
    "inpaint": {"mask": MASK, "denoising_strength": 0.7, "inpaint_full_res": False, "inpainting_fill": 1},
    "inpaint only masked": {
        "mask": MASK,
        "denoising_strength": 0.7,
        "inpaint_full_res": True,
        "inpaint_full_res_padding": 8,
    },
}
REQUESTS = [("txt2img", name, BASE | row) for name, row in TXT2IMG.items()]
REQUESTS += [("img2img", name, BASE | {"init_images": [FACE]} | row) for name, row in IMG2IMG.items()]

TAB_DEFAULTS = {
    "prompt_styles": [],
    "enable_hr": False,
    "denoising_strength": 0.75,
    "hr_scale": 2.0,
    "hr_upscaler": None,
    "hr_second_pass_steps": 0,
    "hr_resize_x": 0,
    "hr_resize_y": 0,
    "hr_checkpoint_name": "Use same checkpoint",
    "hr_sampler_name": "Use same sampler",
    "hr_scheduler": "Use same scheduler",
    "hr_prompt": "",
    "hr_negative_prompt": "",
    "override_settings_texts": [],
    "mask_blur": 4,
    "image_cfg_scale": None,
    "inpaint_full_res": True,
    "inpaint_full_res_padding": 0,
    "inpainting_fill": 0,
    "inpainting_mask_invert": 0,
    "resize_mode": 0,
    "selected_scale_tab": 0,
}


def by_the_api(client, kind, body):
    answer = client.post(f"/sdapi/v1/{kind}", json=body | {"save_images": True})
    assert answer.status_code == 200, answer.text
    answer = answer.json()
    return [decode_base64_to_image(image) for image in answer["images"]], json.loads(answer["info"])["infotexts"]


def by_a_pickled_request(client, kind, body):
    model, prepare = {
        "txt2img": (models.StableDiffusionTxt2ImgProcessingAPI, generate.prepare_txt2img),
        "img2img": (models.StableDiffusionImg2ImgProcessingAPI, generate.prepare_img2img),
    }[kind]
    request = pickle.loads(pickle.dumps(prepare(model(**body, save_images=True)).request))
    result = ProcessingRunner(request).run()
    return result.images, result.processed.infotexts


def by_hand(client, kind, body):
    images = {"init_images": [decode_base64_to_image(FACE)], "mask": body.get("mask") and decode_base64_to_image(MASK)}
    p = {
        "txt2img": processing.StableDiffusionProcessingTxt2Img,
        "img2img": processing.StableDiffusionProcessingImg2Img,
    }[kind](
        **body | (images if kind == "img2img" else {}),
        outpath_samples=getattr(shared.opts, f"outdir_{kind}_samples"),
        outpath_grids=getattr(shared.opts, f"outdir_{kind}_grids"),
    )
    processed = processing.process_images(p)
    p.close()
    return processed.images, processed.infotexts


def by_the_page(client, kind, body):
    tab = {"txt2img": txt2img, "img2img": img2img}[kind]
    runner = {"txt2img": scripts.scripts_txt2img, "img2img": scripts.scripts_img2img}[kind]
    values = TAB_DEFAULTS | body
    overrides = body.get("override_settings", {})
    values["override_settings_texts"] = [
        f"{key}: {overrides[name]}" for name, key in SETTINGS.items() if name in overrides
    ]
    if kind == "img2img":
        values["mode"] = 4 if "mask" in body else 0
        face, mask = decode_base64_to_image(FACE), decode_base64_to_image(MASK)
        values |= {"init_img": face, "init_img_inpaint": face, "init_mask_inpaint": mask if "mask" in body else None}
    script_args = default_args(runner)
    for script, control, value in (
        ("sampler", "steps", body["steps"]),
        ("sampler", "sampling", body["sampler_name"]),
        ("seed", "seed", body["seed"]),
        ("seed", "subseed", body["subseed"]),
    ):
        runner.set_named_arg(script_args, script, f"{kind}_{control}", value)
    args = [values.get(field.name) for field in fields(VALUES[kind])[:-1]] + script_args
    with pytest.MonkeyPatch.context() as patch:
        for name in overrides.keys() - SETTINGS.keys():  # an infotext has no key for these
            patch.setitem(shared.opts.data, name, overrides[name])
        images, info, _, _ = getattr(tab, kind)("task(1)", SimpleNamespace(username=None), *args)
    return images, json.loads(info)["infotexts"]


SETTINGS = {"CLIP_stop_at_last_layers": "Clip skip"}
"""Settings with a key in infotexts, by which the page sends them."""
VALUES = {"txt2img": txt2img.Txt2ImgValues, "img2img": img2img.Img2ImgValues}
WAYS = {"pickled": by_a_pickled_request, "by hand": by_hand, "page": by_the_page}


def everything_of(way, client, data_dir, kind, body) -> dict:
    """What the job gives, and every file it writes, by name."""
    outputs = data_dir / "outputs"
    shutil.rmtree(outputs, ignore_errors=True)
    with nullcontext() if way is by_the_api else call_queue.gpu_job("test"):
        images, infotexts = way(client, kind, body)
    files = {file.relative_to(outputs).as_posix(): file.read_bytes() for file in outputs.rglob("*") if file.is_file()}
    assert images and files
    pixels = [(image.size, image.convert("RGB").tobytes()) for image in images]
    return {"images": pixels, "infotexts": [html.unescape(text) for text in infotexts], "files": files}


@pytest.mark.parametrize(("kind", "name", "body"), REQUESTS, ids=[name for _, name, _ in REQUESTS])
def test_same_bytes(client, data_dir, kind, name, body):
    reference = everything_of(by_the_api, client, data_dir, kind, body)
    for way, run in WAYS.items():
        assert everything_of(run, client, data_dir, kind, body) == reference, way
