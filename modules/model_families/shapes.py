"""pure: sizes of networks, read from the shapes of their weights in the original key layout.

Each function returns the keyword arguments with which diffusers or transformers build that network, so that any width
and depth loads without a configuration file. Raises UnreadableShapes for weights that follow no such network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modules.model_families.base import ImageReader, Mmdit, Shapes, TextEncoder, Unet


class UnreadableShapes(ValueError):
    """The weights are not those of the network that was looked for; the message says what is odd."""


@dataclass
class Level:
    """One resolution of a U-Net's encoder or decoder: its channels, and transformer blocks after each residual one."""

    channels: int = 0
    depths: list[int] = field(default_factory=list)

    @property
    def attends(self) -> bool:
        """Whether there is attention at this resolution."""
        return any(self.depths)

    @property
    def depth(self) -> int | tuple[int, ...]:
        """Transformer blocks after every residual block: one number if it is the same for all, else one for each."""
        return self.depths[0] if len(set(self.depths)) == 1 else tuple(self.depths)


def count(shapes: Shapes, before: str, after: str) -> int:
    """Returns one more than the highest n in keys of the form {before}{n}{after}, 0 without any."""
    numbers = (key[len(before) : -len(after)] for key in shapes if key.startswith(before) and key.endswith(after))
    return max((int(n) + 1 for n in numbers if n.isdigit()), default=0)


def find(shapes: Shapes, key: str) -> tuple[int, ...]:
    """Returns the shape of a weight that has to be there."""
    if key not in shapes:
        raise UnreadableShapes(f"{key} is missing")
    return shapes[key]


def transformer_depth(shapes: Shapes, block: str) -> int:
    """Returns the number of transformer blocks in an attention layer of a U-Net; 0 if there is no such layer."""
    return count(shapes, f"{block}.transformer_blocks.", ".attn1.to_q.weight")


def encoder_levels(shapes: Shapes, prefix: str) -> list[Level]:
    """Returns the resolutions of a U-Net's encoder, finest first."""
    levels = [Level()]
    for i in range(1, 1000):
        block = f"{prefix}input_blocks.{i}"
        if f"{block}.0.op.weight" in shapes:
            levels.append(Level())
        elif f"{block}.0.in_layers.2.weight" in shapes:
            levels[-1].channels = shapes[f"{block}.0.in_layers.2.weight"][0]
            levels[-1].depths.append(transformer_depth(shapes, f"{block}.1"))
        else:
            break
    return levels


def decoder_levels(shapes: Shapes, prefix: str, blocks_per_level: int) -> list[Level]:
    """Returns the resolutions of a U-Net's decoder, coarsest first."""
    blocks = count(shapes, f"{prefix}output_blocks.", ".0.in_layers.2.weight")
    if not blocks or blocks % blocks_per_level:
        raise UnreadableShapes(f"there are {blocks} blocks in the decoder, which are not {blocks_per_level} per level")
    levels = []
    for first in range(0, blocks, blocks_per_level):
        names = [f"{prefix}output_blocks.{i}" for i in range(first, first + blocks_per_level)]
        channels = find(shapes, f"{names[0]}.0.in_layers.2.weight")[0]
        levels.append(Level(channels, [transformer_depth(shapes, f"{name}.1") for name in names]))
    return levels


def same(what: str, values: list[int]) -> int:
    """Returns the one value that all are."""
    if len(set(values)) != 1 or 0 in values:
        raise UnreadableShapes(f"{what} differ between levels: {values}")
    return values[0]


def unet_config(shapes: Shapes, prefix: str, facts: Unet) -> dict[str, Any]:
    """Returns arguments of diffusers' UNet2DConditionModel. facts: what the shapes cannot say."""
    input_shape = find(shapes, f"{prefix}input_blocks.0.0.weight")
    output_shape = find(shapes, f"{prefix}out.2.weight")
    encoder = encoder_levels(shapes, prefix)
    layers = same("residual blocks", [len(level.depths) for level in encoder])
    decoder = decoder_levels(shapes, prefix, layers + 1)
    channels = tuple(level.channels for level in encoder)
    return {
        "in_channels": input_shape[1],
        "out_channels": output_shape[0],
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": tuple("CrossAttnDownBlock2D" if level.attends else "DownBlock2D" for level in encoder),
        "up_block_types": tuple("CrossAttnUpBlock2D" if level.attends else "UpBlock2D" for level in decoder),
        **attention_config(shapes, prefix),
        **depth_config(encoder, decoder, transformer_depth(shapes, f"{prefix}middle_block.1")),
        # diffusers calls the number of heads "dim"
        "attention_head_dim": facts.heads_of(channels),
        **label_config(shapes, prefix, facts),
    }


def attention_config(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Returns the arguments of a U-Net that its first attention layer tells: all are of one build."""
    query = ".transformer_blocks.0.attn2.to_k.weight"
    layer = next((key.removesuffix(query) for key in shapes if key.startswith(prefix) and key.endswith(query)), None)
    if layer is None:
        raise UnreadableShapes(f"there is no attention to text below {prefix}")
    return {
        "cross_attention_dim": shapes[layer + query][1],
        "use_linear_projection": len(find(shapes, f"{layer}.proj_in.weight")) == 2,
    }


def depth_config(encoder: Sequence[Level], decoder: Sequence[Level], middle: int) -> dict[str, Any]:
    """Returns the arguments of a U-Net that say how many transformer blocks there are where.

    middle: blocks between encoder and decoder; diffusers takes their number from the last level of the encoder.
    """
    for level in (*encoder, *decoder):
        if level.attends and 0 in level.depths:
            raise UnreadableShapes(f"only some blocks of a level have attention: {level.depths}")
    config: dict[str, Any] = {
        "transformer_layers_per_block": tuple(level.depth if level.attends else middle for level in encoder)
    }
    if not middle:
        config["mid_block_type"] = "UNetMidBlock2D"
    elif config["transformer_layers_per_block"][-1] != middle:
        raise UnreadableShapes(f"the last level has {encoder[-1].depth} transformer blocks, the middle {middle}")
    # A decoder that is not the encoder in reverse is told apart.
    if [level.depth for level in decoder] != [level.depth for level in reversed(encoder)]:
        config["reverse_transformer_layers_per_block"] = tuple(level.depth for level in decoder)
    return config


def label_config(shapes: Shapes, prefix: str, facts: Unet) -> dict[str, Any]:
    """Returns the arguments of a U-Net for what joins the embedding of the timestep, {} if nothing does."""
    if f"{prefix}label_emb.weight" in shapes:
        return {"num_class_embeds": shapes[f"{prefix}label_emb.weight"][0]}
    if f"{prefix}label_emb.0.0.weight" not in shapes:
        return {}
    config = {"projection_class_embeddings_input_dim": shapes[f"{prefix}label_emb.0.0.weight"][1]}
    if facts.size_embedding is None:
        return {**config, "class_embed_type": "projection"}
    return {**config, "addition_embed_type": "text_time", "addition_time_embed_dim": facts.size_embedding}


def mmdit_config(shapes: Shapes, prefix: str, facts: Mmdit) -> dict[str, Any]:
    """Returns arguments of diffusers' SD3Transformer2DModel. facts: what the shapes cannot say."""
    width, channels, patch, _ = find(shapes, f"{prefix}x_embedder.proj.weight")
    caption, text = find(shapes, f"{prefix}context_embedder.weight")
    layers = count(shapes, f"{prefix}joint_blocks.", ".x_block.attn.qkv.weight")
    blocks = [f"{prefix}joint_blocks.{i}.x_block" for i in range(layers)]
    heads = max(1, width // facts.head_width)
    return {
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": find(shapes, f"{prefix}final_layer.linear.weight")[0] // patch**2,
        "num_layers": layers,
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "joint_attention_dim": text,
        "caption_projection_dim": caption,
        "pooled_projection_dim": find(shapes, f"{prefix}y_embedder.mlp.0.weight")[1],
        "pos_embed_max_size": math.isqrt(find(shapes, f"{prefix}pos_embed")[1]),
        "dual_attention_layers": tuple(i for i, block in enumerate(blocks) if f"{block}.attn2.qkv.weight" in shapes),
        "qk_norm": "rms_norm" if f"{blocks[0]}.attn.ln_q.weight" in shapes else None,
    }


def vae_config(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Returns arguments of diffusers' AutoencoderKL."""
    levels = count(shapes, f"{prefix}encoder.down.", ".block.0.conv1.weight")
    if not levels:
        raise UnreadableShapes(f"{prefix}encoder.down.0.block.0.conv1.weight is missing")
    channels = tuple(shapes[f"{prefix}encoder.down.{i}.block.0.conv1.weight"][0] for i in range(levels))
    blocks = [count(shapes, f"{prefix}encoder.down.{i}.block.", ".conv1.weight") for i in range(levels)]
    return {
        "in_channels": find(shapes, f"{prefix}encoder.conv_in.weight")[1],
        "out_channels": find(shapes, f"{prefix}decoder.conv_out.weight")[0],
        "latent_channels": find(shapes, f"{prefix}decoder.conv_in.weight")[1],
        "block_out_channels": channels,
        "layers_per_block": same("residual blocks of the VAE", blocks),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "use_quant_conv": f"{prefix}quant_conv.weight" in shapes,
        "use_post_quant_conv": f"{prefix}post_quant_conv.weight" in shapes,
        "mid_block_add_attention": f"{prefix}decoder.mid.attn_1.q.weight" in shapes,
        "sample_size": 512,
    }


@dataclass(frozen=True)
class ClipNaming:
    """What a program calls the weights of CLIP's text model; `layer` and `mlp` stand before and after a number."""

    token_embedding: str
    position_embedding: str
    layer: str
    mlp: str
    projection: str
    projection_axis: int
    """Of the shape of `projection`, which is the width of its result."""


CLIP_NAMINGS = (
    ClipNaming(
        token_embedding="text_model.embeddings.token_embedding.weight",
        position_embedding="text_model.embeddings.position_embedding.weight",
        layer="text_model.encoder.layers.",
        mlp=".mlp.fc1.weight",
        projection="text_projection.weight",
        projection_axis=0,
    ),
    ClipNaming(
        token_embedding="token_embedding.weight",
        position_embedding="positional_embedding",
        layer="transformer.resblocks.",
        mlp=".mlp.c_fc.weight",
        projection="text_projection",
        projection_axis=1,
    ),
)
"""The names of transformers and of OpenCLIP."""


def clip_config(shapes: Shapes, facts: TextEncoder) -> dict[str, Any]:
    """Returns arguments of transformers' CLIPTextConfig for the text model below the prefix of its row."""
    prefix = facts.prefix
    naming = next((names for names in CLIP_NAMINGS if prefix + names.token_embedding in shapes), CLIP_NAMINGS[0])
    vocabulary, width = find(shapes, prefix + naming.token_embedding)
    projected = find(shapes, prefix + naming.projection)[naming.projection_axis] if facts.projection else width
    layer = prefix + naming.layer
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "projection_dim": projected,
        "intermediate_size": find(shapes, f"{layer}0{naming.mlp}")[0],
        "num_hidden_layers": count(shapes, layer, naming.mlp),
        "num_attention_heads": max(1, width // facts.head_width),
        "max_position_embeddings": find(shapes, prefix + naming.position_embedding)[0],
        "hidden_act": facts.activation,
    }


def clip_vision_config(shapes: Shapes, facts: ImageReader) -> dict[str, Any]:
    """Returns arguments of transformers' CLIPVisionConfig for OpenCLIP's image encoder below the prefix of its row."""
    visual = facts.prefix + "visual."
    width, channels, patch, _ = find(shapes, f"{visual}conv1.weight")
    patches = find(shapes, f"{visual}positional_embedding")[0] - 1  # one place is not of the image
    layer = f"{visual}transformer.resblocks."
    return {
        "hidden_size": width,
        "intermediate_size": find(shapes, f"{layer}0.mlp.c_fc.weight")[0],
        "projection_dim": find(shapes, f"{visual}proj")[1],
        "num_hidden_layers": count(shapes, layer, ".mlp.c_fc.weight"),
        "num_attention_heads": max(1, width // facts.head_width),
        "num_channels": channels,
        "image_size": math.isqrt(patches) * patch,
        "patch_size": patch,
        "hidden_act": facts.activation,
    }


def t5_config(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Returns arguments of transformers' T5Config for the encoder below a prefix."""
    vocabulary, width = find(shapes, f"{prefix}shared.weight")
    block = f"{prefix}encoder.block."
    buckets, heads = find(shapes, f"{block}0.layer.0.SelfAttention.relative_attention_bias.weight")
    is_gated = f"{block}0.layer.1.DenseReluDense.wi_0.weight" in shapes
    inner = find(shapes, f"{block}0.layer.1.DenseReluDense.{'wi_0' if is_gated else 'wi'}.weight")
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": find(shapes, f"{block}0.layer.0.SelfAttention.q.weight")[0] // heads,
        "d_ff": inner[0],
        "num_heads": heads,
        "num_layers": count(shapes, block, ".layer.0.SelfAttention.q.weight"),
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu" if is_gated else "relu",
    }


def describe(shapes: Shapes) -> str:
    """Returns what a file holds, for an error message: number of weights by the first two parts of their keys, and one
    weight with its shape.
    """
    groups: dict[str, list[str]] = {}
    for key in shapes:
        group = re.split(r"[._]?\d", ".".join(key.split(".")[:2]), maxsplit=1)[0]
        groups.setdefault(group, []).append(key)
    largest = sorted(groups.items(), key=lambda item: -len(item[1]))[:MAX_GROUPS]
    described = ", ".join(f"{group}* ({len(keys)})" for group, keys in largest)
    key = next(iter(largest[0][1])) if largest else ""
    return f"{described}; such as {key} {shapes[key]}" if largest else "no weights"


MAX_GROUPS = 6
"""Groups of keys that are named."""
