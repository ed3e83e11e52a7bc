"""The client library `webuiapi`, written for v1.10.1, against a running server."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

import numpy as np
import pytest
import webuiapi
from PIL import Image, ImageDraw

SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 2, "seed": 7}


@pytest.fixture(scope="module")
def api(page_server):
    return webuiapi.WebUIApi(port=urlsplit(page_server.url).port, sampler="Euler")


@pytest.fixture(scope="module")
def result(api):
    return api.txt2img(**SMALL)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=int)


def test_txt2img(api, result):
    assert (result.image.size, result.info["seed"], result.parameters["steps"]) == ((64, 64), 7, 2)
    assert "Steps: 2, Sampler: Euler, Schedule type: Automatic" in result.info["infotexts"][0]
    assert (pixels(api.txt2img(**SMALL).image) == pixels(result.image)).all()
    assert (pixels(api.txt2img(**SMALL | {"seed": 8}).image) != pixels(result.image)).any()


def test_hires_batch_and_styles(api):
    result = api.txt2img(
        **SMALL,
        batch_size=2,
        enable_hr=True,
        hr_scale=1.5,
        hr_upscaler=webuiapi.HiResUpscaler.Latent,
        styles=["lab-suffix"],
    )
    assert [image.size for image in result.images] == [(96, 96)] * 2
    assert result.info["all_prompts"] == ["red apple, watercolor, pastel"] * 2
    assert result.info["all_seeds"] == [7, 8]


def test_img2img_with_mask_changes_the_masked_part(api, result):
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((32, 0, 63, 63), fill=255)
    inpainted = api.img2img(
        **SMALL | {"prompt": "blue car"},
        images=[result.image],
        mask_image=mask,
        mask_blur=0,
        inpaint_full_res=False,
        denoising_strength=0.9,
    )
    difference = abs(pixels(inpainted.image) - pixels(result.image))
    assert difference[:, :32].max() == 0
    assert difference[:, 32:].mean() > 3


def test_script_over_the_client(api):
    result = api.txt2img(**SMALL | {"prompt": "red|apple"}, script_name="Prompt matrix", script_args=[])
    assert len(result.images) == 3
    assert result.images[1].size == (64, 64)


def test_extras(api, result):
    one = api.extra_single_image(result.image, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=1.5)
    assert one.image.size == (96, 96)
    assert "Postprocess upscaler: Lanczos" in one.info
    two = api.extra_batch_images([result.image] * 2, upscaler_1="Nearest", upscaling_resize=2)
    assert [image.size for image in two.images] == [(128, 128)] * 2


def test_png_info(api, result):
    assert api.png_info(result.image).info == result.info["infotexts"][0]


def test_options(api):
    before = api.get_options()["samples_filename_pattern"]
    api.set_options({"samples_filename_pattern": "[seed]-[steps]"})
    assert api.get_options()["samples_filename_pattern"] == "[seed]-[steps]"
    api.set_options({"samples_filename_pattern": before})
    assert api.get_options()["samples_filename_pattern"] == before
    api.util_set_model("demo")
    assert api.util_get_current_model() in api.util_get_model_names()


def test_lists(api):
    assert {"Euler a", "DPM++ 2M", "DDIM"} <= set(api.util_get_sampler_names())
    assert {"automatic", "karras"} <= set(api.util_get_scheduler_names())
    assert [row["name"] for row in api.get_upscalers()[:3]] == ["None", "Lanczos", "Nearest"]
    assert api.get_latent_upscale_modes()[0] == {"name": "Latent"}
    assert [row["name"] for row in api.get_face_restorers()] == ["CodeFormer", "GFPGAN"]
    assert "lab-wrap" in [row["name"] for row in api.get_prompt_styles()]
    assert (api.get_sd_vae(), api.get_hypernetworks()) == ([], [])
    assert "x/y/z plot" in api.get_scripts()["txt2img"]
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert api.get_cmd_flags()["api"] is True
    assert api.get_memory()["ram"]["total"] > 0
    assert len(api.get_realesrgan_models()) == 6
    api.refresh_checkpoints()


def test_progress_and_interrupt(api):
    results = []
    job = threading.Thread(target=lambda: results.append(api.txt2img(**SMALL | {"steps": 1000})))
    job.start()
    progress = api.get_progress()
    while job.is_alive() and progress["state"]["sampling_step"] < 3:
        progress = api.get_progress()
    assert 0 < progress["progress"] < 1
    assert progress["state"]["sampling_steps"] == 1000
    api.interrupt()
    job.join(timeout=60)
    assert results[0].image.size == (64, 64)
    api.util_wait_for_ready(check_interval=0.1)
    assert api.get_progress()["state"]["job_count"] == 0


def test_errors_are_answers(api):
    with pytest.raises(RuntimeError, match="422"):
        api.txt2img(**SMALL, script_name="no such script")
