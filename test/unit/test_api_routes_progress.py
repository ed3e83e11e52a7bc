"""Watching and steering the running job."""

import base64
import io

import pytest
from PIL import Image

from modules import call_queue, shared
from modules.api.routes_progress import STARTED_SHARE


@pytest.fixture
def running():
    """A job that is half done: one of two batches, and no preview yet."""
    with call_queue.gpu_job("test"):
        shared.state.job_count, shared.state.job_no = 2, 1
        yield


def test_nothing_runs(client):
    body = client.get("/sdapi/v1/progress").json()
    assert (body["progress"], body["eta_relative"], body["current_image"]) == (0, 0, None)
    assert body["state"]["job_count"] == 0


def test_a_job_is_half_done(client, running):
    shared.state.textinfo = "Drawing"
    body = client.get("/sdapi/v1/progress").json()
    assert body["progress"] == pytest.approx(STARTED_SHARE + 0.5)
    assert body["eta_relative"] > 0 and body["textinfo"] == "Drawing" and body["state"]["job"] == "test"


def test_the_preview_comes_unless_nobody_wants_it(client, running):
    shared.state.assign_current_image(Image.new("RGB", (8, 6), "orange"))
    shown = client.get("/sdapi/v1/progress").json()["current_image"]
    assert Image.open(io.BytesIO(base64.b64decode(shown))).size == (8, 6)
    assert client.get("/sdapi/v1/progress?skip_current_image=true").json()["current_image"] is None


def test_progress_is_never_more_than_all(client, running):
    shared.state.job_no = 2
    assert client.get("/sdapi/v1/progress").json()["progress"] == 1


@pytest.mark.parametrize(("path", "flag", "answer"), [("interrupt", "interrupted", {}), ("skip", "skipped", None)])
def test_the_running_job_is_told_to_end(client, running, path, flag, answer):
    assert client.post(f"/sdapi/v1/{path}").json() == answer
    assert getattr(shared.state, flag) is True
