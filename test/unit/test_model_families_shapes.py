"""Sizes of networks, read from the shapes of their weights."""

import dataclasses

import pytest
import torch

from modules import torchvision_ops, weights
from modules.model_families import SD1, TextEncoder, Unet, shapes
from test.unit.checkpoint_files import SD15, SDXL, SSD, embedded_weights

UNET = "model.diffusion_model."
EIGHT_HEADS = Unet(heads=8)
XL = Unet(head_width=16, size_embedding=8)
CLIP = TextEncoder(name="clip", kind="clip", prefix="text.", tokenizer="clip-tokenizer")


def unet_shapes(layout, **changes):
    """The shapes of a U-Net in the original layout."""
    return weights.shapes_of(dataclasses.replace(layout, **changes).weights())


def test_sizes_of_sd15():
    config = shapes.unet_config(unet_shapes(SD15), UNET, EIGHT_HEADS)
    assert config == {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (32, 64, 128, 128),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "transformer_layers_per_block": (1, 1, 1, 1),
        "cross_attention_dim": 128,
        "use_linear_projection": False,
        "attention_head_dim": 8,
    }


def test_depth_of_transformers_and_size_of_the_vector():
    config = shapes.unet_config(unet_shapes(SDXL), UNET, XL)
    assert config["transformer_layers_per_block"] == (3, 2, 3)
    assert config["down_block_types"] == ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    assert config["use_linear_projection"] is True
    assert config["attention_head_dim"] == (2, 4, 8)
    assert (config["addition_embed_type"], config["addition_time_embed_dim"]) == ("text_time", 8)
    assert config["projection_class_embeddings_input_dim"] == SDXL.label
    assert "reverse_transformer_layers_per_block" not in config and "mid_block_type" not in config


def test_depth_that_differs_within_a_level():
    config = shapes.unet_config(unet_shapes(SSD), UNET, XL)
    assert config["transformer_layers_per_block"] == (0, 2, 3)
    assert config["reverse_transformer_layers_per_block"] == ((3, 3, 5), (2, 1, 1), 0)
    assert config["mid_block_type"] == "UNetMidBlock2D"
    within = shapes.unet_config(unet_shapes(SSD, encoder=((0, 0), (1, 2), (3, 3))), UNET, XL)
    assert within["transformer_layers_per_block"] == (0, (1, 2), 3)


def test_vector_without_sizes_is_of_a_class():
    config = shapes.unet_config(unet_shapes(SDXL), UNET, EIGHT_HEADS)
    assert config["class_embed_type"] == "projection"
    numbered = unet_shapes(SD15) | {f"{UNET}label_emb.weight": (1000, 128)}
    assert shapes.unet_config(numbered, UNET, EIGHT_HEADS)["num_class_embeds"] == 1000


def names_and_shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    ("layout", "facts"),
    [
        (SD15, EIGHT_HEADS),
        (SDXL, XL),
        (SDXL, EIGHT_HEADS),
        (SSD, XL),
        (dataclasses.replace(SSD, encoder=((0, 0), (1, 2), (3, 3))), XL),
        (dataclasses.replace(SDXL, encoder=((0,), (2,), (3,)), decoder=((3, 3), (2, 2), (0, 0))), XL),
    ],
    ids=["sd15", "sdxl", "class", "ssd", "uneven", "one block a level"],
)
def test_diffusers_builds_the_unet_of_every_layout(layout, facts):
    torchvision_ops.declare_missing()
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    stored = layout.weights()
    with torch.device("meta"):
        unet = UNet2DConditionModel(**shapes.unet_config(weights.shapes_of(stored), UNET, facts))
    converted = convert_ldm_unet_checkpoint(stored, unet.config)
    assert weights.shapes_of(converted) == names_and_shapes(unet)
    assert {tensor.data_ptr() for tensor in converted.values()} == {tensor.data_ptr() for tensor in stored.values()}
    heads = {attention.heads for name, attention in unet.named_modules() if name.endswith("attn1")}
    assert heads == ({8} if facts.heads else {width // 16 for width in layout.widths[1:]})


@pytest.mark.parametrize(
    ("layout", "facts", "parameters"),
    [
        (dataclasses.replace(SD15, widths=(320, 640, 1280, 1280), text=768), EIGHT_HEADS, 859_520_964),
        (
            dataclasses.replace(
                SDXL,
                widths=(320, 640, 1280),
                encoder=((0, 0), (2, 2), (10, 10)),
                decoder=((10, 10, 10), (2, 2, 2), (0, 0, 0)),
                middle=10,
                text=2048,
                label=1280 + 6 * 256,
            ),
            Unet(head_width=64, size_embedding=256),
            2_567_463_684,
        ),
    ],
    ids=["sd15", "sdxl"],
)
def test_unets_of_full_size_have_as_many_parameters_as_those_published(layout, facts, parameters):
    torchvision_ops.declare_missing()
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        found = weights.shapes_of(layout.weights())
        unet = UNet2DConditionModel(**shapes.unet_config(found, UNET, facts))
    assert sum(parameter.numel() for parameter in unet.parameters()) == parameters


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("input_blocks.11.", "residual blocks differ"),
        ("input_blocks.5.1.", "only some blocks of a level have attention"),
        ("output_blocks.11.", "11 blocks in the decoder"),
        ("", "no attention to text below model.diffusion_model"),
    ],
)
def test_layouts_that_diffusers_cannot_build(removed, message):
    found = unet_shapes(SD15)
    for key in [key for key in found if key.startswith(UNET + removed) and (removed or ".transformer_blocks." in key)]:
        del found[key]
    with pytest.raises(shapes.UnreadableShapes, match=message):
        shapes.unet_config(found, UNET, EIGHT_HEADS)


def test_middle_is_as_deep_as_the_last_level():
    with pytest.raises(shapes.UnreadableShapes, match="last level has 3 transformer blocks, the middle 2"):
        shapes.unet_config(unet_shapes(SDXL, middle=2), UNET, XL)


def test_missing_weights_are_named():
    with pytest.raises(shapes.UnreadableShapes, match=r"unet\.out\.2\.weight is missing"):
        shapes.unet_config({"unet.input_blocks.0.0.weight": (32, 4, 3, 3)}, "unet.", EIGHT_HEADS)
    with pytest.raises(shapes.UnreadableShapes, match=r"vae\.encoder\.down\.0.* is missing"):
        shapes.vae_config({}, "vae.")


def test_sizes_of_the_embedded_networks():
    found = weights.shapes_of(embedded_weights())
    unet = shapes.unet_config(found, UNET, EIGHT_HEADS)
    assert unet["block_out_channels"] == (64, 128, 128)
    assert unet["down_block_types"] == ("CrossAttnDownBlock2D",) * 3
    assert unet["cross_attention_dim"] == 128

    vae = shapes.vae_config(found, "first_stage_model.")
    assert vae["block_out_channels"] == (32, 64, 128, 128)
    assert (vae["latent_channels"], vae["layers_per_block"]) == (4, 2)
    assert vae["use_quant_conv"] and vae["use_post_quant_conv"] and vae["mid_block_add_attention"]

    text = shapes.clip_config(found, SD1.text_encoders[0])
    assert (text["hidden_size"], text["num_hidden_layers"], text["num_attention_heads"]) == (128, 4, 2)
    assert (text["vocab_size"], text["max_position_embeddings"]) == (49408, 77)


def clip_shapes(of_open_clip):
    """The shapes of a text model of 2 layers, 128 wide, whose texts are summed up in 96 numbers."""
    if of_open_clip:
        layers = {f"text.transformer.resblocks.{i}.mlp.c_fc.weight": (512, 128) for i in range(2)}
        ends = {"token_embedding.weight": (1000, 128), "positional_embedding": (77, 128), "text_projection": (128, 96)}
    else:
        layers = {f"text.text_model.encoder.layers.{i}.mlp.fc1.weight": (512, 128) for i in range(2)}
        embeddings = "text_model.embeddings"
        ends = {
            f"{embeddings}.token_embedding.weight": (1000, 128),
            f"{embeddings}.position_embedding.weight": (77, 128),
            "text_projection.weight": (96, 128),
        }
    return layers | {f"text.{key}": shape for key, shape in ends.items()}


@pytest.mark.parametrize("of_open_clip", [False, True])
def test_sizes_of_clip_under_either_naming(of_open_clip):
    found = clip_shapes(of_open_clip)
    config = shapes.clip_config(found, dataclasses.replace(CLIP, projection=True, activation="gelu"))
    assert config == {
        "vocab_size": 1000,
        "hidden_size": 128,
        "projection_dim": 96,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "hidden_act": "gelu",
    }
    assert shapes.clip_config(found, CLIP)["projection_dim"] == 128
    with pytest.raises(shapes.UnreadableShapes, match=r"text\.text_model\.embeddings\.token_embedding.* missing"):
        shapes.clip_config({}, CLIP)


def test_contents_are_described_by_parts():
    found = {"lora_unet_a.up": (1,), "lora_unet_b.up": (1,), "emb_params": (2, 768)}
    described = "lora_unet_a.up* (1), lora_unet_b.up* (1), emb_params* (1); such as lora_unet_a.up (1,)"
    assert shapes.describe(found) == described
    assert shapes.describe({}) == "no weights"
    assert shapes.describe(weights.shapes_of(embedded_weights())).startswith("model.diffusion_model* (624)")
