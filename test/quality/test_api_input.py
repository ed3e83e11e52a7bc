"""What clients send is taken as v1.10.1 took it; what can't work gets an error that names the field.

The server goes on either way.
"""

import base64
import json

import pytest

from modules import shared
from test.quality import golden

SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1, "seed": 1}
FACE = golden.resolved("@file:inputs/face128.png")
WIDE = golden.resolved("@file:inputs/face160x96.png")

INFOTEXT = "a\nSteps: 1, Sampler: Euler, Seed: 1, Clip skip: 1.5"


def txt2img(client, **fields):
    return client.post("/sdapi/v1/txt2img", json=SMALL | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 1.7},
        {"steps": "1"},
        {"prompt": 5},
        {"alwayson_scripts": []},
        {"no_such_field": 1},
        {"seed": None},
        {"styles": ["no such style"]},
        {"width": 100},
        {"cfg_scale": "5"},
        {"sampler_name": "no such sampler"},
        {"override_settings": {"outdir_samples": "/somewhere/else"}},
        {"denoising_strength": -0.5, "hr_scale": -1, "hr_second_pass_steps": -3, "hr_resize_x": -8},
    ],
    ids=str,
)
def test_is_taken(client, fields):
    assert txt2img(client, **fields).status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"width": 7}, 422, "width"),
        ({"height": 9000}, 422, "height"),
        ({"steps": 0}, 422, "steps"),
        ({"batch_size": 65}, 422, "batch_size"),
        ({"n_iter": 0}, 422, "n_iter"),
        ({"script_name": "no such script"}, 422, "script_name"),
        ({"alwayson_scripts": {"Prompt matrix": {"args": []}}}, 422, "alwayson_scripts"),
        ({"refiner_checkpoint": "no-such-model", "refiner_switch_at": 0.5}, 404, "refiner_checkpoint"),
        ({"enable_hr": True}, 422, "denoising_strength"),
        ({"enable_hr": True, "denoising_strength": 0.7, "hr_upscaler": "no such"}, 404, "hr_upscaler"),
        ({"override_settings": {"no_such_setting": 1}}, 422, "no_such_setting"),
        ({"override_settings": {"CLIP_stop_at_last_layers": 99}}, 422, "CLIP_stop_at_last_layers"),
        ({"override_settings": {"samples_format": "exe"}, "save_images": True}, 422, "samples_format"),
        ({"override_settings": {"sigma_min": -1.0}, "scheduler": "Karras"}, 422, "sigma_min"),
        ({"override_settings": {"beta_dist_alpha": 0.0}, "scheduler": "Beta"}, 422, "scheduler"),
        (
            {"override_settings": {"use_downcasted_alpha_bar": True, "sd_noise_schedule": "Zero Terminal SNR"}},
            422,
            "scheduler",
        ),
        ({"override_settings": {"uni_pc_variant": "bh3"}, "sampler_name": "UniPC"}, 422, "uni_pc_variant"),
        ({"firstpass_image": "not base64!", "enable_hr": True, "denoising_strength": 0.5}, 422, "image"),
    ],
    ids=str,
)
def test_is_refused_by_name_and_the_server_goes_on(client, fields, status, field):
    response = txt2img(client, **fields)
    assert response.status_code == status, response.text
    body = response.json()
    assert body["field"] == field
    assert body["detail"]
    assert "Traceback" not in response.text
    assert txt2img(client).status_code == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 404),
        ({"init_images": [None]}, 422),
        ({"init_images": ["nonsense"]}, 422),
        ({"init_images": ["http://127.0.0.1:9/x.png"]}, 403),
        ({"init_images": [FACE], "denoising_strength": -0.5}, 422),
        ({"init_images": [FACE, FACE, FACE]}, 422),
        ({"init_images": [FACE, WIDE], "batch_size": 2, "resize_mode": 3}, 422),
        ({"init_images": [FACE], "mask": "nonsense"}, 422),
    ],
    ids=["none", "null", "nonsense", "local address", "strength", "too many", "of two sizes", "mask"],
)
def test_img2img_refusals(client, fields, status):
    response = client.post("/sdapi/v1/img2img", json=SMALL | fields)
    assert response.status_code == status, response.text


def test_body_without_content_type_is_json(client):
    response = client.post("/sdapi/v1/txt2img", content=json.dumps(SMALL).encode())
    assert response.status_code == 200


def test_data_uri_and_plain_base64_are_the_same(client):
    bodies = [
        client.post("/sdapi/v1/img2img", json=SMALL | {"init_images": [image]}).json()["images"]
        for image in (FACE, f"data:image/png;base64,{FACE}")
    ]
    assert bodies[0] == bodies[1]
    assert base64.b64decode(bodies[0][0]).startswith(b"\x89PNG")


def test_png_info_reads_back_what_was_written(client):
    image = txt2img(client, prompt="red apple, (shiny:1.2)").json()["images"][0]
    body = client.post("/sdapi/v1/png-info", json={"image": image}).json()
    assert body["info"].startswith("red apple, (shiny:1.2)\nSteps: 1")
    assert body["parameters"]["Seed"] == "1"
    assert body["parameters"]["Prompt"] == "red apple, (shiny:1.2)"


def test_image_of_a_batch_equals_the_single_run_with_its_seed(client):
    batch = golden.pictures_of(txt2img(client, batch_size=2, steps=3).json())
    (single,) = golden.pictures_of(txt2img(client, seed=2, steps=3).json())
    assert golden.pixel_problem(batch[1], single) is None
    assert golden.pixel_problem(batch[0], single) is not None


@pytest.mark.parametrize(
    ("setting", "sent", "stored"),
    [
        ("CLIP_stop_at_last_layers", "2", 2),
        ("grid_save", "false", False),
        ("grid_save", "yes", True),
        ("hide_samplers", "PLMS", ["PLMS"]),
        ("grid_save", 0, False),
        ("hide_samplers", ["PLMS"], ["PLMS"]),
        ("samples_filename_pattern", 5, "5"),
        ("sd_vae", None, "Automatic"),
    ],
)
def test_settings_get_the_type_they_have(client, setting, sent, stored):
    before = client.get("/sdapi/v1/options").json()[setting]
    try:
        assert client.post("/sdapi/v1/options", json={setting: sent}).status_code == 200
        value = getattr(shared.opts, setting)
        assert (value, type(value)) == (stored, type(stored))
        assert client.get("/sdapi/v1/options").json()[setting] == stored
    finally:
        client.post("/sdapi/v1/options", json={setting: before})


@pytest.mark.parametrize(
    "change",
    [
        {"CLIP_stop_at_last_layers": "two"},
        {"quicksettings_list": {}},
        {"font": ["a"]},
        {"grid_background_color": "zz"},
        {"CLIP_stop_at_last_layers": 1.5},
        {"grid_save": "sure"},
        {"hide_samplers": 3},
        {"sd_vae": "no such"},
        {"randn_source": "dice"},
    ],
    ids=str,
)
def test_setting_of_another_type_is_refused(client, change):
    response = client.post("/sdapi/v1/options", json=change)
    assert response.status_code == 422
    assert response.json()["field"] in change
    assert client.get("/sdapi/v1/options").status_code == 200
    assert txt2img(client, override_settings=change).status_code == 422


def test_a_whole_number_may_be_written_with_a_fraction_of_zero(client):
    assert client.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 2.0}).status_code == 200
    try:
        assert txt2img(client).status_code == 200
        assert txt2img(client, override_settings={"CLIP_stop_at_last_layers": 1.0}).status_code == 200
    finally:
        client.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 1})


def test_what_of_a_request_has_no_effect_is_named_in_the_answer(client):
    body = txt2img(client, override_settings={"outdir_samples": "/x"}, infotext=INFOTEXT).json()
    comments = json.loads(body["info"])["comments"]
    assert "outdir_samples" in comments and "Clip skip" in comments
    assert "comments" not in json.loads(txt2img(client).json()["info"])


def test_unknown_option_names_itself(client):
    response = client.post("/sdapi/v1/options", json={"no_such_option": 1})
    assert response.status_code == 422
    assert "no_such_option" in response.json()["detail"]
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "no such model"}).status_code == 404


def test_interrogate_says_that_its_models_are_missing(client):
    assert client.post("/sdapi/v1/interrogate", json={"image": FACE, "model": "no such"}).status_code == 404
    response = client.post("/sdapi/v1/interrogate", json={"image": FACE, "model": "clip"})
    assert response.status_code == 404
    assert response.json()["detail"]
