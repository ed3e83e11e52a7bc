"""Listing, rescanning, loading and unloading models."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules import checkpoints, sd_hijack, sd_models, sd_vae, shared


@pytest.fixture
def folder_file():
    """Puts a file into a folder for the time of a test."""
    made = []

    def put(path, source=None, tensors=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        made.append(path)
        if source is not None:
            shutil.copy(source, path)
        else:
            save_file(tensors, path)

    yield put
    for path in made:
        path.unlink()


def embedded():
    return next(info for info in checkpoints.checkpoints_list.values() if info.is_embedded)


def test_a_checkpoint_is_listed_with_its_file_and_hash(client):
    rows = client.get("/sdapi/v1/sd-models").json()
    row = next(row for row in rows if row["title"] == embedded().title)
    assert Path(row["filename"]).name == "demo-emoji.safetensors" and row["model_name"] == embedded().model_name
    assert row["sha256"] is None or row["sha256"].startswith(row["hash"])


def test_a_new_checkpoint_is_there_after_a_refresh(client, folder_file):
    def names():
        return {row["model_name"] for row in client.get("/sdapi/v1/sd-models").json()}

    folder_file(Path(checkpoints.model_path) / "new-one.safetensors", source=embedded().filename)
    assert "new-one" not in names()
    assert client.post("/sdapi/v1/refresh-checkpoints").json() is None
    assert "new-one" in names()


def test_a_new_vae_is_there_after_a_refresh(client, folder_file):
    folder_file(Path(sd_vae.vae_path) / "new-vae.safetensors", tensors={"decoder.weight": torch.zeros(1)})
    assert client.post("/sdapi/v1/refresh-vae").status_code == 200
    assert "new-vae.safetensors" in {row["model_name"] for row in client.get("/sdapi/v1/sd-vae").json()}


def test_a_new_embedding_is_there_after_a_refresh_if_it_fits_the_model(client, folder_file):
    width = sd_hijack.model_hijack.embedding_db.expected_shape
    folder = Path(shared.cmd_opts.embeddings_dir)
    folder_file(folder / "fits.safetensors", tensors={"emb_params": torch.ones(2, width)})
    folder_file(folder / "fits-not.safetensors", tensors={"emb_params": torch.ones(2, width + 1)})
    assert client.post("/sdapi/v1/refresh-embeddings").status_code == 200
    body = client.get("/sdapi/v1/embeddings").json()
    assert body["loaded"]["fits"] | {"shape": width, "vectors": 2} == body["loaded"]["fits"]
    assert "fits-not" in body["skipped"] and "fits-not" not in body["loaded"]


def test_the_checkpoint_can_be_unloaded_and_comes_back(client):
    request = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1, "seed": 1, "save_images": False}
    before = client.post("/sdapi/v1/txt2img", json=request).json()["images"]
    assert client.post("/sdapi/v1/unload-checkpoint").json() == {}
    assert client.post("/sdapi/v1/reload-checkpoint").json() == {}
    assert sd_models.model_data.sd_model is not None
    assert client.post("/sdapi/v1/txt2img", json=request).json()["images"] == before


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("upscalers", "Lanczos"),
        ("latent-upscale-modes", "Latent (bicubic antialiased)"),
        ("face-restorers", "GFPGAN"),
        ("realesrgan-models", "R-ESRGAN 4x+"),
    ],
)
def test_what_the_program_brings_is_listed(client, path, known):
    assert known in {row["name"] for row in client.get(f"/sdapi/v1/{path}").json()}


def test_hypernetworks_are_those_of_the_folder(client, monkeypatch):
    monkeypatch.setattr(shared, "hypernetworks", {"ink": "/models/ink.pt"})
    assert client.get("/sdapi/v1/hypernetworks").json() == [{"name": "ink", "path": "/models/ink.pt"}]


def test_memory_is_told_in_bytes(client):
    ram = client.get("/sdapi/v1/memory").json()["ram"]
    assert ram["total"] > ram["used"] > 10**6
