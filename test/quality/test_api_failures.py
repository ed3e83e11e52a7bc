"""Memory that runs out, models that make no numbers, hooks that fail: the job says so, and the server goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modules import devices, shared
from test.quality import api_jobs


@pytest.fixture
def failing(monkeypatch, sd_model):
    """Makes a method of the model fail the first `times` times with an exception, or for good."""

    def install(name, error, times=None):
        original = getattr(type(sd_model), name)
        calls = []

        def method(self, *args, **kwargs):
            calls.append(args)
            if times is None or len(calls) <= times:
                raise error
            return original(self, *args, **kwargs)

        monkeypatch.setattr(type(sd_model), name, method)
        return calls

    return install


def post(client, tab="txt2img", **fields):
    extra = {"init_images": [api_jobs.FACE], "denoising_strength": 0.5} if tab == "img2img" else {}
    return client.post(f"/sdapi/v1/{tab}", json=api_jobs.SMALL | extra | fields)


def assert_idle(client):
    """Nothing of a failed job is left."""
    body = client.get("/sdapi/v1/progress").json()
    assert (body["state"]["job"], body["progress"]) == ("", 0)
    assert list(shared.sd_model.patches.on) == ["learned vectors"]
    assert not any(getattr(layer, "padding_mode", "zeros") == "circular" for layer in shared.sd_model.modules())


OUT_OF_MEMORY = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("MPS backend out of memory")]


def assert_same_picture(result, expected):
    """Within a grey level: sums over rows come in another order."""
    levels, wanted = (np.asarray(one.images[0], dtype=int) for one in (result, expected))
    assert np.abs(levels - wanted).max() <= 1


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_decoder_without_memory_works_row_by_row(client, txt2img, failing, error):
    expected = txt2img()
    calls = failing("decode_first_stage", error, times=1)
    assert_same_picture(txt2img(), expected)
    assert len(calls) == 2


def test_encoder_without_memory_works_row_by_row(img2img, failing):
    expected = img2img()
    calls = failing("encode_first_stage", OUT_OF_MEMORY[0], times=1)
    assert_same_picture(img2img(), expected)
    assert len(calls) == 2


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["decode_first_stage", "apply_model"])
def test_no_memory_at_all_is_an_answer_and_the_next_job_runs(client, txt2img, monkeypatch, failing, method, error):
    expected = txt2img()
    with monkeypatch.context():
        failing(method, error)
        response = post(client, tiling=True, override_settings={"token_merging_ratio": 0.5})
    monkeypatch.undo()
    assert response.status_code == 507
    assert response.json()["error"] == "OutOfMemory"
    assert "memory" in response.json()["detail"]
    assert_idle(client)
    assert txt2img().pixels == expected.pixels


def test_other_errors_of_the_model_are_not_taken_for_lack_of_memory(client, txt2img, monkeypatch, failing):
    failing("apply_model", RuntimeError("broken on purpose"))
    response = post(client)
    monkeypatch.undo()
    assert response.status_code == 500
    assert response.json() == {"error": "RuntimeError", "detail": "", "body": "", "errors": "broken on purpose"}
    assert_idle(client)
    txt2img()


@pytest.fixture
def nan_from(monkeypatch, sd_model):
    """Makes a method of the model return NaNs, for as long as its weights have one of the types."""

    def install(name, while_vae_is=(torch.float32, torch.bfloat16)):
        original = getattr(type(sd_model), name)

        def method(self, *args, **kwargs):
            result = original(self, *args, **kwargs)
            return result * float("nan") if self.first_stage_model.dtype in while_vae_is else result

        monkeypatch.setattr(type(sd_model), name, method)

    return install


@pytest.mark.parametrize(("method", "part"), [("apply_model", "U-Net"), ("decode_first_stage", "VAE")])
def test_nans_are_an_error_that_names_the_part(client, txt2img, monkeypatch, nan_from, method, part):
    nan_from(method)
    response = post(client, override_settings={"auto_vae_precision": False})
    monkeypatch.undo()
    assert response.status_code == 422
    body = response.json()
    assert body["error"] == "NansException" and part in body["detail"] and "--disable-nan-check" in body["detail"]
    assert_idle(client)
    txt2img()


def test_nans_pass_without_the_check(txt2img, monkeypatch, nan_from):
    nan_from("decode_first_stage")
    monkeypatch.setattr(shared.cmd_opts, "disable_nan_check", True)
    assert txt2img().images[0].getextrema() == ((0, 0), (0, 0), (0, 0))


def test_vae_that_overflows_is_widened_and_stays_so(client, txt2img, monkeypatch, nan_from):
    """Nothing here is narrower than float32, so the wider type is the one with more range per bit."""
    nan_from("decode_first_stage", while_vae_is=(torch.float32,))
    vae = shared.sd_model.first_stage_model
    before = vae.dtype
    weights = {name: weight.clone() for name, weight in vae.state_dict().items()}
    try:
        wide = {"auto_vae_precision_bfloat16": True}
        first, second = txt2img(override_settings=wide), txt2img(override_settings=wide)
        assert shared.sd_model.placement.dtype_vae == vae.dtype == torch.bfloat16
        assert devices.dtype_vae == before
        assert first.pixels == second.pixels
        monkeypatch.undo()
        assert api_jobs.distance(first.images[0], txt2img().images[0]) < 3
    finally:
        vae.to(before).load_state_dict(weights)  # the narrow type has rounded them


def test_hires_pass_finds_nans_too(client, monkeypatch, nan_from):
    nan_from("decode_first_stage")
    response = post(client, enable_hr=True, hr_scale=1.5, denoising_strength=0.5, hr_upscaler="Lanczos")
    monkeypatch.undo()
    assert response.status_code == 422 and "VAE" in response.json()["detail"]
    assert_idle(client)
