"""Fixtures of tests that run whole jobs over the REST API."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modules import checkpoints, sd_models, shared
from test.quality import api_jobs, golden


@pytest.fixture
def txt2img(client):
    """Runs a small txt2img job with the given fields and returns its Result."""
    return lambda **fields: api_jobs.result_of(client.post("/sdapi/v1/txt2img", json=api_jobs.SMALL | fields))


@pytest.fixture
def img2img(client):
    """The same for img2img, on the face."""
    base = api_jobs.SMALL | {"init_images": [api_jobs.FACE], "denoising_strength": 0.6}
    return lambda **fields: api_jobs.result_of(client.post("/sdapi/v1/img2img", json=base | fields))


@pytest.fixture(scope="module")
def network_files(client):
    """The files that golden cases with networks name, where the program looks for them."""
    flags = shared.cmd_opts
    places = {"Lora": flags.lora_dir, "embeddings": flags.embeddings_dir, "hypernetworks": flags.hypernetwork_dir}
    copies = []
    for name, folder in places.items():
        Path(folder).mkdir(parents=True, exist_ok=True)
        copies += [shutil.copy(file, folder) for file in (golden.NETWORKS.folder / name).iterdir()]

    def look_again():
        client.post("/sdapi/v1/refresh-loras")
        client.post("/sdapi/v1/refresh-embeddings")
        shared.reload_hypernetworks()

    look_again()
    yield Path(flags.lora_dir)
    for copy in copies:
        Path(copy).unlink()
    look_again()


@pytest.fixture(scope="module")
def second_checkpoint(client):
    """Name of a checkpoint beside the embedded one: the same model, its U-Net changed. Both stay loaded meanwhile."""
    embedded = next(info for info in checkpoints.checkpoints_list.values() if info.is_embedded)
    tensors = load_file(embedded.filename)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        if name.startswith("model.diffusion_model.out"):
            tensors[name] = tensor * (1 + 0.3 * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
    file = Path(checkpoints.model_path) / "second.safetensors"
    save_file(tensors, file)
    sd_models.list_models()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shared.opts.data, "sd_checkpoints_limit", 2)
        yield "second"
    file.unlink()
    sd_models.list_models()
    sd_models.reload_model_weights()
    assert shared.sd_model.sd_checkpoint_info.is_embedded
