"""A checkpoint that cannot be loaded, as the first of the list."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules import checkpoints, sd_models, shared
from test.quality import api_jobs


@pytest.fixture
def broken(client):
    """The first checkpoint of the list cannot be loaded, none is chosen, and none is in memory."""
    file = Path(checkpoints.model_path) / "aaa-broken.safetensors"
    file.write_bytes(b"not a checkpoint")
    sd_models.list_models()
    loaded, current = list(sd_models.model_data.loaded_sd_models), sd_models.model_data.sd_model
    sd_models.model_data.loaded_sd_models.clear()
    sd_models.model_data.sd_model = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shared.opts.data, "sd_model_checkpoint", None)
        yield "aaa-broken"
    file.unlink()
    sd_models.list_models()
    sd_models.model_data.loaded_sd_models[:] = loaded
    sd_models.model_data.sd_model = current


def test_a_job_that_names_a_good_one_runs(client, broken):
    overrides = {"sd_model_checkpoint": "demo-emoji"}
    response = client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | {"override_settings": overrides})
    assert response.status_code == 200, response.text


def test_a_job_that_names_none_gets_the_next_good_one(client, broken, caplog):
    response = client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL)
    assert response.status_code == 200, response.text
    assert "aaa-broken" in caplog.text


def test_a_job_that_names_the_broken_one_is_told(client, broken):
    overrides = {"sd_model_checkpoint": broken}
    response = client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | {"override_settings": overrides})
    assert response.status_code == 422
    assert "aaa-broken" in response.json()["detail"]


def test_choosing_the_broken_one_leaves_the_good_one(client, broken):
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "demo-emoji"}).status_code == 200
    chosen = shared.opts.sd_model_checkpoint
    response = client.post("/sdapi/v1/options", json={"sd_model_checkpoint": broken})
    assert response.status_code == 422
    assert "aaa-broken" in response.json()["detail"]
    assert shared.opts.sd_model_checkpoint == chosen
    assert client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL).status_code == 200
