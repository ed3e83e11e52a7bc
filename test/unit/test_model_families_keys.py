"""Keys of real checkpoints, as lists of them have it: each is known, and each goes into a network.

test/data/checkpoint_keys.json has the lists, keys that differ in a word or a number on one line: `{0-2}` is 0, 1
and 2, `{bias,weight}` for either. Those of SD2 are SD1's with another text encoder, whose keys are OpenCLIP's.
"""

import itertools
import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modules import model_load, torchvision_ops
from modules.model_families import diffusers_names
from test.unit.test_model_families_sdxl import CLIP_L, VAE, enlarged, stored
from test.unit.test_sd_models_2 import enlarged as enlarged_2
from test.unit.test_sd_models_3 import enlarged as enlarged_3
from tools import tiny_checkpoints

LISTS = json.loads((Path(__file__).parents[1] / "data" / "checkpoint_keys.json").read_text(encoding="utf8"))


def choices(part):
    """What a part of a line stands for."""
    if not part.startswith("{"):
        return [part]
    found = []
    for item in part[1:-1].split(","):
        first, _, last = item.partition("-")
        found += map(str, range(int(first), int(last) + 1)) if last else [item]
    return found


def keys_of(kind):
    """The keys of a list."""
    parts = ([choices(part) for part in re.split(r"({.*?})", line)] for line in LISTS[kind])
    return {"".join(key) for line in parts for key in itertools.product(*line)}


def sd1():
    """SD1 in its real sizes."""
    small = tiny_checkpoints.RECIPES["sd1"]
    unet = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}
    texts = {prefix: {**config, **CLIP_L} for prefix, config in small.texts.items()}
    return replace(small, unet={**small.unet, **unet}, texts=texts, vae=VAE)


NOT_READ = ("logit_scale", "position_ids", "cond_stage_model.model.text_projection")
"""Ends of keys of real files that no network needs; SD2 has no use for what a whole prompt means."""


def published(kind):
    """The keys of a family's real file."""
    if kind != "sd2":
        return keys_of(kind)
    return keys_of("sd2-texts") | {key for key in keys_of("sd1") if not key.startswith("cond_stage_model")}


@pytest.mark.parametrize(
    ("kind", "recipe", "count"),
    [("sd1", sd1, 1130), ("sd2", enlarged_2, 1228), ("sdxl", lambda: enlarged("sdxl"), 2515)],
)
def test_every_key_of_a_real_file_is_used(kind, recipe, count, caplog):
    tensors, expected = stored(recipe()), published(kind)
    assert len(expected) == count
    assert tensors.keys() - expected <= {key for key in tensors if key.endswith(NOT_READ)}
    assert expected <= tensors.keys()
    with caplog.at_level(logging.WARNING):
        prepared = model_load.prepare("real.safetensors", {}, state_dict=tensors)
    assert not caplog.records
    used = {key for network in prepared.networks.values() for key, names in network.parameters.items() if names}
    assert used == {key for key in expected if not key.endswith(NOT_READ)}
    if kind == "sd1":
        assert sum(weight.numel() for weight in prepared.denoiser.module.parameters()) == 859_520_964


SIZES = {
    "sd3": {"num_layers": 24},
    "sd3.5-large": {"num_layers": 38},
    "sd3.5-medium": {"num_layers": 24, "dual_attention_layers": tuple(range(13))},
}


@pytest.mark.parametrize("kind", SIZES)
def test_keys_of_a_transformer_are_those_of_the_real_file(kind):
    """Those that the tests of its real sizes use to the last."""
    torchvision_ops.declare_missing()
    from diffusers import SD3Transformer2DModel

    with torch.device("meta"):
        transformer = SD3Transformer2DModel(**enlarged_3(kind, **SIZES[kind]).transformer)
    ours = {f"model.diffusion_model.{key}" for key in diffusers_names.original_mmdit(transformer.state_dict())}
    assert ours == keys_of(kind)


def test_keys_of_the_text_encoders_are_those_of_the_real_file():
    torchvision_ops.declare_missing()
    texts = enlarged_3("sd3-t5", **SIZES["sd3"]).texts
    with torch.device("meta"):
        made = {prefix: tiny_checkpoints.text_encoder(config) for prefix, config in texts.items()}
    ours = {prefix + key for prefix, model in made.items() for key in tiny_checkpoints.original_text(prefix, model)}
    assert {key for key in ours if not key.endswith("position_ids")} == keys_of("sd3-texts") | keys_of("t5xxl")
