"""engine: the transformer of Stable Diffusion 3, as diffusers has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from modules import torchvision_ops
from modules.denoisers.base import Convert, Kind, Reads, Told
from modules.model_families import Family, Shapes, shapes
from modules.sd_disable_initialization import InitializeOnMeta
from modules.weights import StateDict


def build(family: Family, found: Shapes) -> tuple[torch.nn.Module, Convert]:
    """Makes the transformer of these shapes, and what takes weights to its parameters."""
    torchvision_ops.declare_missing()
    from diffusers import SD3Transformer2DModel

    config = shapes.mmdit_config(found, family.unet_prefix, family.denoiser)
    with InitializeOnMeta():
        transformer = SD3Transformer2DModel(**config)

    def convert(tensors: StateDict) -> StateDict:
        """Takes weights from the original names to diffusers'."""
        return to_diffusers(family.unet_prefix, config["num_layers"] - 1, tensors)

    return transformer, convert


NAMES = {
    r"^pos_embed$": "pos_embed.pos_embed",
    r"^x_embedder\.proj\.": "pos_embed.proj.",
    r"^t_embedder\.mlp\.0\.": "time_text_embed.timestep_embedder.linear_1.",
    r"^t_embedder\.mlp\.2\.": "time_text_embed.timestep_embedder.linear_2.",
    r"^y_embedder\.mlp\.0\.": "time_text_embed.text_embedder.linear_1.",
    r"^y_embedder\.mlp\.2\.": "time_text_embed.text_embedder.linear_2.",
    r"^final_layer\.adaLN_modulation\.1\.": "norm_out.linear.",
    r"^final_layer\.linear\.": "proj_out.",
    r"^joint_blocks\.": "transformer_blocks.",
    r"\.x_block\.adaLN_modulation\.1\.": ".norm1.linear.",
    r"\.x_block\.mlp\.fc1\.": ".ff.net.0.proj.",
    r"\.x_block\.mlp\.fc2\.": ".ff.net.2.",
    r"\.x_block\.(attn2?)\.proj\.": r".\1.to_out.0.",
    r"\.x_block\.(attn2?)\.ln_([qk])\.": r".\1.norm_\2.",
    r"\.context_block\.adaLN_modulation\.1\.": ".norm1_context.linear.",
    r"\.context_block\.mlp\.fc1\.": ".ff_context.net.0.proj.",
    r"\.context_block\.mlp\.fc2\.": ".ff_context.net.2.",
    r"\.context_block\.attn\.proj\.": ".attn.to_add_out.",
    r"\.context_block\.attn\.ln_([qk])\.": r".attn.norm_added_\1.",
}
"""Pattern in the original names -> what diffusers has there."""

FUSED = re.compile(r"\.(x|context)_block\.(attn2?)\.qkv\.")
"""Queries, keys and values of the image or the text, one above the other."""


def to_diffusers(prefix: str, last: int, tensors: StateDict) -> StateDict:
    """Takes weights from the original names to diffusers'; nearly all stay in their file.

    last: number of the last block, whose norm of the text has shift and scale, and no gate, as that at the end: there
    the original puts the shift first.
    """
    swapped = (f"joint_blocks.{last}.context_block.adaLN_modulation.", "final_layer.adaLN_modulation.")
    converted = {}
    for key, tensor in tensors.items():
        original = key.removeprefix(prefix)
        name = original
        for pattern, ours in NAMES.items():
            name = re.sub(pattern, ours, name)
        fused = FUSED.search(name)
        if fused is not None:
            ours = "to_{}." if fused[1] == "x" else "add_{}_proj."
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                converted[FUSED.sub(f".{fused[2]}.{ours.format(letter)}", name)] = part
        else:
            # In a list: of a tuple, torch.cat makes no blocks of GGUF.
            converted[name] = torch.cat([*reversed(tensor.chunk(2))]) if original.startswith(swapped) else tensor
    return converted


def turned(transformer: torch.nn.Module) -> tuple[str, str]:
    """Returns the paths of the layers whose halves `to_diffusers` turns round."""
    return ("norm_out.linear", f"transformer_blocks.{transformer.config.num_layers - 1}.norm1_context.linear")


def reads(config: Mapping[str, Any]) -> Reads:
    """Returns what a transformer takes."""
    return Reads(config["joint_attention_dim"], config["pooled_projection_dim"])


def lay_out(transformer: torch.nn.Module) -> torch.nn.Module:
    """Returns a transformer as it is: v1.10.1's had a layout of its own, which no extension knows."""
    return transformer


def arguments(transformer: torch.nn.Module, t: torch.Tensor, told: Told) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns what a transformer is called with for times (B,) from 0 to 1000.

    Raises ConditioningError without the pooled text, or with a size.
    """
    told.check(needed=("vector",), taken=("vector",))
    return (told.text, told.vector, t), {"return_dict": False}


KIND = Kind(build, reads, lay_out, arguments, turned)
