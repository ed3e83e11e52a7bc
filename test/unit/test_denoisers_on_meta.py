"""No denoiser waits for its device: on the meta device a tensor has no values, and asking for one raises, as does a
tensor of another device in places where CUDA would copy it.
"""

import contextlib

import pytest
import torch

from modules import denoisers, model_load, shared, step_cache
from modules.model_patches import token_merging
from modules.network_patches import KIND, Networks
from modules.placement import Placement
from modules.sampling.denoisers import SIGMA_DENOISERS
from test.unit.test_network_patches import SEVERAL
from test.unit.test_weight_patches import build

CPU = torch.device("cpu")


def denoised(model, side=16):
    """One call of a sampler's denoiser, all of it on the meta device."""
    model.to("meta")
    reads = denoisers.kind_of(model.family).reads(model.network("denoiser").config)
    with torch.device("meta"):
        cond = {"crossattn": torch.zeros(2, 77, reads.text)}
        if reads.vector is not None:
            cond["vector"] = torch.zeros(2, reads.vector)
        channels = model.network("denoiser").config.in_channels - model.latent_channels
        if channels:
            cond["concat"] = torch.zeros(2, channels, side, side)
        x, sigma = torch.zeros(2, model.latent_channels, side, side), torch.ones(2)
    denoiser = SIGMA_DENOISERS[model.parameterization](model).to("meta")
    with torch.no_grad():
        return denoiser(x, sigma, cond=cond)


@pytest.mark.parametrize(
    "kind", ["sd1", "sd2-v", "sd2-inpainting", "sdxl", "sdxl-playground", "sdxl-cosxl", "ssd", "sdxl-refiner", "sd3"]
)
def test_families(tiny_files, loaded_program, kind):
    prepared = model_load.prepare(str(tiny_files(kind)[0]), {})
    model = model_load.build(prepared, Placement(CPU, torch.float32, torch.float32, torch.float32))
    assert denoised(model).is_meta


PATCHES = {
    "networks in the weights": {KIND: Networks(SEVERAL)},
    "networks beside the layers": {KIND: Networks(SEVERAL, functional=True)},
    "token merging": {"token merging": lambda model: token_merging(model, 0.5)},
    "step cache": {"step cache": lambda model: step_cache.applied(model, 2)},
}


@pytest.mark.parametrize("name", PATCHES)
def test_patches(loaded_program, name, monkeypatch):
    model = build()
    with contextlib.ExitStack() as stack:
        for kind, patch in PATCHES[name].items():
            model.patches.put(kind, patch)
            stack.callback(model.patches.take, kind)
        for step in range(2):
            monkeypatch.setattr(shared.state, "sampling_step", step)
            assert denoised(model).is_meta
