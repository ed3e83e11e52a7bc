"""What can be done with a finished image."""

import base64
import io

import pytest
from PIL import Image, PngImagePlugin

from modules import call_queue, script_callbacks, shared
from modules.api import image_jobs, models


def encoded(size=(8, 6), color="orange", infotext=None):
    info = PngImagePlugin.PngInfo()
    if infotext is not None:
        info.add_text("parameters", infotext)
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG", pnginfo=info)
    return base64.b64encode(file.getvalue()).decode()


def decoded(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_the_infotext_of_an_image_is_read_and_hooks_may_change_it(client):
    def pasted(infotext, params):
        params["Added"] = infotext[:3]

    script_callbacks.on_infotext_pasted(pasted, name="adds")
    try:
        text = "red apple\nNegative prompt: pear\nSteps: 4, Sampler: Euler, Seed: 7, Size: 8x6"
        body = client.post("/sdapi/v1/png-info", json={"image": encoded(infotext=text)}).json()
    finally:
        script_callbacks.remove_callbacks_for_function(pasted)
    assert body["info"] == text
    assert body["parameters"] | {"Steps": "4", "Negative prompt": "pear", "Added": "red"} == body["parameters"]


@pytest.mark.parametrize(
    ("mode", "image_format", "options"),
    [
        ("P", "GIF", {"comment": b"\xff\xfe" * 9, "transparency": 0}),
        ("RGB", "TIFF", {"dpi": (72.5, 300)}),
        ("RGB", "JPEG", {"comment": b"\xff\xd8", "dpi": (72, 72)}),
        ("P", "PNG", {"transparency": b"\xff\x80"}),
    ],
)
def test_whatever_a_file_says_fits_into_the_answer(client, mode, image_format, options):
    file = io.BytesIO()
    Image.new(mode, (8, 6)).save(file, image_format, **options)
    answer = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(file.getvalue()).decode()})
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()["items"], dict)


def test_an_image_without_infotext_says_nothing(client):
    assert client.post("/sdapi/v1/png-info", json={"image": encoded()}).json()["info"] == ""


def test_one_image_is_enlarged(client):
    request = {"image": encoded((8, 16)), "upscaling_resize": 2, "upscaler_1": "Nearest"}
    body = client.post("/sdapi/v1/extra-single-image", json=request).json()
    assert decoded(body["image"]).size == (16, 32) and decoded(body["image"]).getpixel((3, 3)) == (255, 165, 0)


def test_several_images_are_enlarged_in_order(client):
    files = [{"data": encoded(color=color), "name": color} for color in ("red", "blue")]
    request = {"imageList": files, "resize_mode": 1, "upscaling_resize_w": 24, "upscaling_resize_h": 24}
    body = client.post("/sdapi/v1/extra-batch-images", json=request | {"upscaler_1": "Nearest"}).json()
    images = [decoded(text) for text in body["images"]]
    assert [image.size for image in images] == [(24, 24)] * 2
    assert [image.getpixel((9, 9)) for image in images] == [(255, 0, 0), (0, 0, 255)]


def test_a_bad_image_is_named_and_the_others_are_made(client):
    palette = Image.new("P", (8, 8))
    palette.putpalette([255, 0, 0])
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=0)
    files = [encoded(color="red"), "no image", base64.b64encode(file.getvalue()).decode()]
    request = {"imageList": [{"data": data, "name": name} for data, name in zip(files, "abc", strict=True)]}
    answer = client.post("/sdapi/v1/extra-batch-images", json=request | {"upscaler_1": "Nearest"})
    assert answer.status_code == 200
    images = [decoded(text) for text in answer.json()["images"]]
    assert [image.mode for image in images] == ["RGB", "RGBA"]
    assert images[1].getpixel((0, 0))[3] == 0
    assert "b: Invalid encoded image" in answer.json()["html_info"]


def test_the_fields_of_a_request_become_the_arguments_of_the_job():
    arguments = image_jobs.extras_arguments(models.ExtrasSingleImageRequest(image="x", upscaler_1="Nearest"))
    assert arguments["extras_upscaler_1"] == "Nearest" and arguments["extras_upscaler_2"] == "None"
    assert not {"image", "upscaler_1", "upscaler_2"} & arguments.keys()


def test_an_image_is_described_as_a_job(client, monkeypatch):
    seen = []

    def describe(image):
        seen.append((image.mode, image.size, shared.state.job, call_queue.queue_lock.is_own()))
        return "an orange"

    monkeypatch.setattr(shared.interrogator, "interrogate", describe)
    assert client.post("/sdapi/v1/interrogate", json={"image": encoded()}).json() == {"caption": "an orange"}
    assert seen == [("RGB", (8, 6), "interrogate", True)]


@pytest.mark.parametrize(
    ("path", "request_body", "status"),
    [
        ("interrogate", {"image": encoded(), "model": "no such"}, 404),
        ("interrogate", {"image": "no image"}, 422),
        ("png-info", {"image": "no image"}, 422),
        ("extra-single-image", {"image": "no image"}, 422),
        ("extra-batch-images", {"imageList": [{"data": "no image", "name": "x"}]}, 422),
    ],
)
def test_what_cannot_be_done_is_refused_before_it_queues(client, path, request_body, status):
    with call_queue.queue_lock:
        assert client.post(f"/sdapi/v1/{path}", json=request_body).status_code == status
