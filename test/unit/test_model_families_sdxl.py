"""Stable Diffusion XL in its real sizes, without memory for weights: every key of real files is used, none is left."""

import hashlib
from dataclasses import replace

import pytest
import torch

from modules import model_load, weights
from tools import tiny_checkpoints
from tools.tiny_checkpoints import Recipe

UNET = {
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "projection_class_embeddings_input_dim": 2816,
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
}
VAE = {**tiny_checkpoints.TINY_VAE, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}


def enlarged(kind: str, **unet) -> Recipe:
    """The recipe of a kind with the sizes of its real files."""
    small = tiny_checkpoints.RECIPES[kind]
    texts = {
        prefix: {**config, **(CLIP_G if "projection_dim" in config else CLIP_L)}
        for prefix, config in small.texts.items()
    }
    return replace(small, unet={**small.unet, **UNET, **unet}, texts=texts, vae=VAE)


SSD_1B = {
    "transformer_layers_per_block": (1, (2, 2), (4, 4)),
    "reverse_transformer_layers_per_block": ((4, 4, 10), (2, 1, 1), 1),
}
VEGA = {
    "transformer_layers_per_block": (1, (1, 1), (2, 2)),
    "reverse_transformer_layers_per_block": ((2, 2, 2), (1, 1, 1), 1),
}
REFINER = {
    "block_out_channels": (384, 768, 1536, 1536),
    "transformer_layers_per_block": 4,
    "attention_head_dim": (6, 12, 24, 24),
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
}


def stored(recipe: Recipe) -> dict[str, torch.Tensor]:
    """The weights of a file, without memory for them."""
    with torch.device("meta"):
        return tiny_checkpoints.make(recipe).weights()


def digest(tensors) -> str:
    lines = sorted(f"{key} {tuple(shape)}\n" for key, shape in weights.shapes_of(tensors).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_keys_and_shapes_are_those_of_the_real_file():
    """The digest is that of sd_xl_base_1.0.safetensors, as lists of its keys have it."""
    tensors = stored(enlarged("sdxl"))
    assert (len(tensors), digest(tensors)) == (2515, SDXL_DIGEST)


SDXL_DIGEST = "511aa541a0f4a3e2943ee2c2e1b86ed1bbe888dc6f602d9c08fdb4f0bb39caee"


@pytest.mark.parametrize(
    ("kind", "family", "unet", "millions"),
    [
        ("sdxl", "sdxl", {}, 2567.46),
        ("ssd", "ssd", SSD_1B, 1331.33),
        ("ssd", "ssd", VEGA, 745.23),
        ("sdxl-refiner", "sdxl-refiner", REFINER, 2259.53),
    ],
)
def test_real_sizes_are_read_from_the_shapes(kind, family, unet, millions, caplog):
    prepared = model_load.prepare("real.safetensors", {}, state_dict=stored(enlarged(kind, **unet)))
    assert prepared.family.name == family
    counts = {
        name: sum(weight.numel() for weight in network.module.parameters())
        for name, network in prepared.networks.items()
    }
    assert round(counts["denoiser"] / 1e6, 2) == millions
    assert round(counts["clip_g"] / 1e6, 2) == 694.66
    assert round(counts["vae"] / 1e6, 2) == 83.65
    assert not caplog.records  # which would name weights that nothing uses
    unused = [key for network in prepared.networks.values() for key, names in network.parameters.items() if not names]
    assert all(key.endswith(("position_ids", "logit_scale")) for key in unused)
