"""The two routes that make images: what they answer, and what becomes of their job."""

import base64
import io
import json

import pytest
from PIL import Image

from modules import call_queue, processing, progress
from modules.api import generate, models
from modules.job.queue import JobState
from modules.job.request import JobRequest

SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1, "seed": 3, "save_images": False}


@pytest.fixture
def picture():
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "orange").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_the_answer_has_images_parameters_and_info(client):
    body = client.post("/sdapi/v1/txt2img", json=SMALL).json()
    image = Image.open(io.BytesIO(base64.b64decode(body["images"][0])))
    assert image.size == (64, 64) and image.text["parameters"].startswith("red apple\nSteps: 1")
    assert body["parameters"]["prompt"] == "red apple" and body["parameters"]["width"] == 64
    assert json.loads(body["info"])["all_seeds"] == [3]


def test_images_are_left_out_if_nobody_wants_them(client):
    assert client.post("/sdapi/v1/txt2img", json=SMALL | {"send_images": False}).json()["images"] == []


@pytest.mark.parametrize("kind", ["txt2img", "img2img"])
def test_the_job_has_the_clients_id_and_its_request_as_data(client, picture, kind, monkeypatch):
    seen = []
    submit = call_queue.queue.submit
    monkeypatch.setattr(call_queue.queue, "submit", lambda job, *work: seen.append(job) or submit(job, *work))
    body = SMALL | {"force_task_id": f"task({kind})"} | ({"init_images": [picture]} if kind == "img2img" else {})
    assert client.post(f"/sdapi/v1/{kind}", json=body).status_code == 200
    (job,) = seen
    assert (job.id, job.name, job.state) == (f"task({kind})", f"scripts_{kind}", JobState.DONE)
    assert isinstance(job.request, JobRequest) and job.request.kind == kind
    assert f"task({kind})" in progress.finished_tasks


@pytest.mark.parametrize("include", [False, True])
def test_init_images_come_back_only_if_asked_for(client, picture, include):
    request = SMALL | {"init_images": [picture], "include_init_images": include}
    parameters = client.post("/sdapi/v1/img2img", json=request).json()["parameters"]
    assert parameters["init_images"] == ([picture] if include else None)


def test_what_cannot_be_prepared_never_queues(client):
    with call_queue.queue_lock:  # an answer comes although nobody else gets the device
        assert client.post("/sdapi/v1/img2img", json=SMALL).status_code == 404
        hires = client.post("/sdapi/v1/txt2img", json=SMALL | {"enable_hr": True, "denoising_strength": None})
    assert (hires.status_code, hires.json()["field"]) == (422, "denoising_strength")


def test_a_plan_runs_wherever_the_device_is_held(sd_model):
    """As the queue's thread does it, and as a benchmark or a test may."""
    request = models.StableDiffusionTxt2ImgProcessingAPI(**SMALL)
    plan = generate.prepare_txt2img(request)
    with call_queue.gpu_job(plan.name, plan.task_id):
        result = plan.work()
    assert isinstance(result.processed, processing.Processed)
    assert plan.answer(result, plan.images(result))["parameters"]["steps"] == 1
