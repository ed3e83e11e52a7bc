"""Routes for finished images, in an application that has no others."""

import base64
import io
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image, ImageChops

from modules import deepbooru, script_callbacks, shared
from modules.api import http_errors, routes_images

INPUTS = Path(__file__).resolve().parent.parent / "golden" / "inputs"


@pytest.fixture
def client(program):
    app = FastAPI()
    http_errors.install(app)
    app.include_router(routes_images.router)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def hooks():
    """Removes the callbacks that a test adds."""
    added = []
    yield added.append
    for callback in added:
        script_callbacks.remove_callbacks_for_function(callback)


def file_text(name):
    return base64.b64encode((INPUTS / name).read_bytes()).decode()


def decoded(text):
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def post(client, path, **body):
    return client.post(f"/sdapi/v1/{path}", json=body)


FACE = file_text("face128.png")


def test_infotext_is_read_and_parsed(client):
    answer = post(client, "png-info", image=file_text("with-parameters.png")).json()
    assert "Steps: " in answer["info"]
    assert answer["parameters"]["Steps"] in answer["info"]
    assert answer["parameters"]["Prompt"] in answer["info"]
    assert "parameters" not in answer["items"]


def test_image_without_infotext_has_the_defaults(client):
    answer = post(client, "png-info", image=f"  {FACE}\n").json()
    assert answer["info"] == ""
    assert answer["items"] == {}
    assert answer["parameters"]["Prompt"] == ""
    assert answer["parameters"]["Clip skip"] == "1"


def test_callbacks_may_change_what_was_read(client, hooks):
    def change(infotext, params):
        params["Mine"] = len(infotext)

    script_callbacks.on_infotext_pasted(change)
    hooks(change)
    answer = post(client, "png-info", image=file_text("with-parameters.png")).json()
    assert answer["parameters"]["Mine"] == len(answer["info"])


@pytest.mark.parametrize("path", ["png-info", "extra-single-image", "interrogate"])
@pytest.mark.parametrize("image", ["", "nonsense"])
def test_text_that_is_no_image_is_refused(client, path, image):
    answer = post(client, path, image=image)
    assert answer.status_code == 422
    assert answer.json()["field"] == "image"


def test_image_is_enlarged(client):
    answer = post(client, "extra-single-image", image=FACE, upscaler_1="Lanczos", upscaling_resize=1.5).json()
    assert decoded(answer["image"]).size == (192, 192)
    assert answer["html_info"] == "<p>Postprocess upscale by: 1.5, Postprocess upscaler: Lanczos</p>"


def test_size_is_asked_for_in_place_of_a_factor(client):
    size = {"resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 200}
    cropped = post(client, "extra-single-image", image=FACE, upscaler_1="Nearest", **size).json()
    assert decoded(cropped["image"]).size == (100, 200)
    whole = post(client, "extra-single-image", image=FACE, upscaler_1="Nearest", upscaling_crop=False, **size).json()
    assert decoded(whole["image"]).size == (200, 200)


def test_without_an_upscaler_the_image_comes_back(client):
    answer = post(client, "extra-single-image", image=FACE).json()
    assert ImageChops.difference(decoded(answer["image"]), decoded(FACE)).getbbox() is None
    assert answer["html_info"] == "<p></p>"


def test_second_upscaler_is_blended_in(client):
    both = {"image": FACE, "upscaler_1": "Nearest", "upscaler_2": "Lanczos"}
    first = post(client, "extra-single-image", **both).json()
    blended = post(client, "extra-single-image", **both, extras_upscaler_2_visibility=0.5).json()
    assert ImageChops.difference(decoded(first["image"]), decoded(blended["image"])).getbbox()
    assert "Postprocess upscaler 2: Lanczos" in blended["html_info"]
    assert "Postprocess upscaler 2" not in first["html_info"]


@pytest.mark.parametrize("name", ["upscaler_1", "upscaler_2"])
def test_unknown_upscaler_is_named(client, name):
    answer = post(client, "extra-single-image", image=FACE, **{"upscaler_1": "Lanczos", name: "No such"})
    assert answer.status_code == 404
    assert answer.json()["field"] == name


def test_batch_keeps_its_order(client):
    entries = [{"data": file_text(name), "name": name} for name in ("face128.png", "face160x96.png")]
    answer = post(client, "extra-batch-images", imageList=entries, upscaler_1="Nearest", upscaling_resize=0.5).json()
    assert [decoded(text).size for text in answer["images"]] == [(64, 64), (80, 48)]


def test_batch_of_none_is_empty(client):
    assert post(client, "extra-batch-images", imageList=[]).json()["images"] == []


def test_nothing_is_saved(client, monkeypatch, tmp_path):
    monkeypatch.setitem(shared.opts.data, "outdir_samples", str(tmp_path))
    post(client, "extra-single-image", image=FACE, upscaler_1="Nearest")
    post(client, "extra-batch-images", imageList=[{"data": FACE, "name": "a"}], upscaler_1="Nearest")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("image_format", ["jpg", "webp"])
def test_images_come_in_the_format_of_the_setting(client, monkeypatch, image_format):
    monkeypatch.setitem(shared.opts.data, "samples_format", image_format)
    answer = post(client, "extra-single-image", image=FACE).json()
    assert decoded(answer["image"]).format == {"jpg": "JPEG", "webp": "WEBP"}[image_format]


@pytest.mark.parametrize(("model", "caption"), [(None, "words"), ("clip", "words"), ("deepdanbooru", "tags")])
def test_image_is_described_by_the_model_asked_for(client, monkeypatch, model, caption):
    seen = []
    monkeypatch.setattr(shared.interrogator, "interrogate", lambda image: seen.append(image) or "words")
    monkeypatch.setattr(deepbooru.model, "tag", lambda image: seen.append(image) or "tags")
    body = {"image": file_text("face128-rgba.png")} | ({"model": model} if model else {})
    assert post(client, "interrogate", **body).json() == {"caption": caption}
    assert [image.mode for image in seen] == ["RGB"]


def test_unknown_model_is_refused(client):
    answer = post(client, "interrogate", image=FACE, model="oracle")
    assert (answer.status_code, answer.json()["field"]) == (404, "model")
