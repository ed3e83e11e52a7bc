"""Sizes of networks, read from the shapes of their weights."""

import pytest

from modules import weights
from modules.model_families import shapes
from test.unit.checkpoint_files import embedded_weights

PREFIX = "unet."


def unet_shapes(channels, depths, resnets=2, middle_depth=1, context=768, linear=False):
    """The shapes unet_config looks at, of a U-Net with these levels."""
    found = {
        f"{PREFIX}input_blocks.0.0.weight": (channels[0], 4, 3, 3),
        f"{PREFIX}out.2.weight": (4, channels[0], 3, 3),
    }
    i = 1
    for level, (width, depth) in enumerate(zip(channels, depths, strict=True)):
        for _ in range(resnets):
            found[f"{PREFIX}input_blocks.{i}.0.in_layers.2.weight"] = (width, width, 3, 3)
            for n in range(depth):
                found[f"{PREFIX}input_blocks.{i}.1.transformer_blocks.{n}.attn1.to_q.weight"] = (width, width)
            i += 1
        if level < len(channels) - 1:
            found[f"{PREFIX}input_blocks.{i}.0.op.weight"] = (width, width, 3, 3)
            i += 1
    middle = f"{PREFIX}middle_block.1"
    for n in range(middle_depth):
        found[f"{middle}.transformer_blocks.{n}.attn1.to_q.weight"] = (channels[-1], channels[-1])
        found[f"{middle}.transformer_blocks.{n}.attn2.to_k.weight"] = (channels[-1], context)
    found[f"{middle}.proj_in.weight"] = (channels[-1],) * 2 if linear else (channels[-1], channels[-1], 1, 1)
    return found


def test_sizes_of_sd15():
    config = shapes.unet_config(unet_shapes((320, 640, 1280, 1280), (1, 1, 1, 0)), PREFIX, heads=8)
    assert config["block_out_channels"] == (320, 640, 1280, 1280)
    assert config["down_block_types"] == ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    assert config["up_block_types"] == ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    assert (config["in_channels"], config["out_channels"], config["layers_per_block"]) == (4, 4, 2)
    assert (config["cross_attention_dim"], config["attention_head_dim"]) == (768, 8)
    assert config["use_linear_projection"] is False
    assert config["transformer_layers_per_block"] == (1, 1, 1, 1)


def test_depth_of_transformers_and_linear_projection():
    found = unet_shapes((320, 640, 1280), (0, 2, 10), middle_depth=10, context=2048, linear=True)
    config = shapes.unet_config(found, PREFIX, heads=8)
    assert config["transformer_layers_per_block"] == (10, 2, 10)
    assert config["down_block_types"][0] == "DownBlock2D"
    assert config["use_linear_projection"] is True


def test_uneven_levels_are_unreadable():
    found = unet_shapes((32, 64), (1, 1))
    del found[f"{PREFIX}input_blocks.5.0.in_layers.2.weight"]
    with pytest.raises(shapes.UnreadableShapes, match="residual blocks differ"):
        shapes.unet_config(found, PREFIX, heads=8)


def test_missing_weights_are_named():
    with pytest.raises(shapes.UnreadableShapes, match=r"unet\.out\.2\.weight is missing"):
        shapes.unet_config({f"{PREFIX}input_blocks.0.0.weight": (32, 4, 3, 3)}, PREFIX, heads=8)
    with pytest.raises(shapes.UnreadableShapes, match=r"vae\.encoder\.down\.0.* is missing"):
        shapes.vae_config({}, "vae.")


def test_sizes_of_the_embedded_networks():
    found = weights.shapes_of(embedded_weights())
    unet = shapes.unet_config(found, "model.diffusion_model.", heads=8)
    assert unet["block_out_channels"] == (64, 128, 128)
    assert unet["down_block_types"] == ("CrossAttnDownBlock2D",) * 3
    assert unet["cross_attention_dim"] == 128

    vae = shapes.vae_config(found, "first_stage_model.")
    assert vae["block_out_channels"] == (32, 64, 128, 128)
    assert (vae["latent_channels"], vae["layers_per_block"]) == (4, 2)
    assert vae["use_quant_conv"] and vae["use_post_quant_conv"] and vae["mid_block_add_attention"]

    text = shapes.clip_config(found, "cond_stage_model.transformer.text_model.", 64, "quick_gelu")
    assert (text["hidden_size"], text["num_hidden_layers"], text["num_attention_heads"]) == (128, 4, 2)
    assert (text["vocab_size"], text["max_position_embeddings"]) == (49408, 77)


def test_contents_are_described_by_parts():
    found = {"lora_unet_a.up": (1,), "lora_unet_b.up": (1,), "emb_params": (2, 768)}
    assert shapes.describe(found) == "lora_unet_a.up* (1), lora_unet_b.up* (1), emb_params* (1)"
    assert shapes.describe({}) == "no weights"
    assert shapes.describe(weights.shapes_of(embedded_weights())).startswith("model.diffusion_model* (624)")
