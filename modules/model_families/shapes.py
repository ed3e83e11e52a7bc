"""pure: sizes of networks, read from the shapes of their weights in the original key layout.

Each function returns the keyword arguments with which diffusers or transformers build that network, so that any width
and depth loads without a configuration file. Raises UnreadableShapes for weights that follow no such network.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from modules.model_families.base import Shapes


class UnreadableShapes(ValueError):
    """The weights are not those of the network that was looked for; the message says what is odd."""


@dataclass
class Level:
    """One resolution of a U-Net: its channels, residual blocks, and transformer blocks after each of them."""

    channels: int = 0
    resnets: int = 0
    depth: int = 0


def count(shapes: Shapes, before: str, after: str) -> int:
    """One more than the highest n in keys of the form {before}{n}{after}, 0 without any."""
    numbers = (key[len(before) : -len(after)] for key in shapes if key.startswith(before) and key.endswith(after))
    return max((int(n) + 1 for n in numbers if n.isdigit()), default=0)


def find(shapes: Shapes, key: str) -> tuple[int, ...]:
    """The shape of a weight that has to be there."""
    if key not in shapes:
        raise UnreadableShapes(f"{key} is missing")
    return shapes[key]


def transformer_depth(shapes: Shapes, block: str) -> int:
    """Transformer blocks in an attention layer of a U-Net; 0 if there is no such layer."""
    return count(shapes, f"{block}.transformer_blocks.", ".attn1.to_q.weight")


def unet_levels(shapes: Shapes, prefix: str) -> list[Level]:
    """The resolutions of a U-Net's encoder, finest first."""
    levels = [Level()]
    for i in range(1, 1000):
        block = f"{prefix}input_blocks.{i}"
        if f"{block}.0.op.weight" in shapes:
            levels.append(Level())
        elif f"{block}.0.in_layers.2.weight" in shapes:
            level = levels[-1]
            level.channels = shapes[f"{block}.0.in_layers.2.weight"][0]
            level.resnets += 1
            level.depth = transformer_depth(shapes, f"{block}.1")
        else:
            break
    return levels


def same(what: str, values: list[int]) -> int:
    """The one value that all are."""
    if len(set(values)) != 1 or 0 in values:
        raise UnreadableShapes(f"{what} differ between levels: {values}")
    return values[0]


def unet_config(shapes: Shapes, prefix: str, heads: int) -> dict[str, Any]:
    """Arguments of diffusers' UNet2DConditionModel. heads: attention heads of every layer."""
    input_shape = find(shapes, f"{prefix}input_blocks.0.0.weight")
    output_shape = find(shapes, f"{prefix}out.2.weight")
    levels = unet_levels(shapes, prefix)
    middle = f"{prefix}middle_block.1"
    middle_depth = transformer_depth(shapes, middle)
    attended = [level.depth > 0 for level in levels]
    return {
        "in_channels": input_shape[1],
        "out_channels": output_shape[0],
        "block_out_channels": tuple(level.channels for level in levels),
        "layers_per_block": same("residual blocks", [level.resnets for level in levels]),
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attended),
        "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attended)),
        "transformer_layers_per_block": tuple(level.depth or middle_depth for level in levels),
        "cross_attention_dim": find(shapes, f"{middle}.transformer_blocks.0.attn2.to_k.weight")[1],
        "use_linear_projection": len(find(shapes, f"{middle}.proj_in.weight")) == 2,
        # diffusers calls the number of heads "dim"
        "attention_head_dim": heads,
    }


def vae_config(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Arguments of diffusers' AutoencoderKL."""
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


def clip_config(shapes: Shapes, prefix: str, head_width: int, activation: str) -> dict[str, Any]:
    """Arguments of transformers' CLIPTextConfig. prefix: first part of the keys, with text_model."""
    vocabulary, width = find(shapes, f"{prefix}embeddings.token_embedding.weight")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "projection_dim": width,
        "intermediate_size": find(shapes, f"{prefix}encoder.layers.0.mlp.fc1.weight")[0],
        "num_hidden_layers": count(shapes, f"{prefix}encoder.layers.", ".mlp.fc1.weight"),
        "num_attention_heads": width // head_width,
        "max_position_embeddings": find(shapes, f"{prefix}embeddings.position_embedding.weight")[0],
        "hidden_act": activation,
    }


def describe(shapes: Shapes) -> str:
    """What a file holds, in a line for an error message: number of weights by the first two parts of their keys."""
    groups = Counter(re.split(r"[._]?\d", ".".join(key.split(".")[:2]), maxsplit=1)[0] for key in shapes)
    return ", ".join(f"{group}* ({n})" for group, n in groups.most_common(6)) or "no weights"
