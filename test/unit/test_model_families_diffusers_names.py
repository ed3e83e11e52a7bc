"""Names of diffusers, transformers and llama.cpp taken to those of the original layout. Whole networks are tried in
test_diffusers_folders.
"""

import gguf
import pytest
import torch

from modules.model_families import diffusers_names


def test_weights_under_original_names_stay_as_they_are():
    tensors = {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(1)}
    assert diffusers_names.original(tensors) is tensors


@pytest.mark.parametrize(
    "name",
    [
        "shared",
        "encoder.final_layer_norm",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
        *(f"encoder.block.11.layer.0.SelfAttention.{letter}" for letter in "qkvo"),
        *(f"encoder.block.11.layer.1.DenseReluDense.{part}" for part in ("wi_0", "wi_1", "wo")),
        *(f"encoder.block.11.layer.{n}.layer_norm" for n in (0, 1)),
    ],
)
def test_names_of_t5_in_gguf(name):
    theirs = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5ENCODER, 24).get_name(name)
    marked = {"enc.blk.0.attn_q.weight": torch.ones(1), f"{theirs}.weight": torch.ones(2)}
    assert len(diffusers_names.original(marked)[f"{name}.weight"]) == 2


def test_text_encoder_of_transformers_5():
    key = "encoder.layers.0.mlp.fc1.weight"
    tensors = {key: torch.ones(1), "text_projection.weight": torch.ones(1)}
    assert list(diffusers_names.original(tensors)) == [f"text_model.{key}", "text_projection.weight"]
