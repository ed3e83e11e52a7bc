"""Writes a small checkpoint of a model family with random weights, in the layout in which its real files come.

    python tools/tiny_checkpoints.py sdxl models/Stable-diffusion/tiny-sdxl.safetensors

It draws nothing to look at, but does all that a real one does in seconds. The same seed gives the same weights.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modules import torchvision_ops

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

StateDict = dict[str, torch.Tensor]
Renames = Mapping[str, str | Callable[[re.Match], str]]
"""Pattern in a name -> what stands in its place."""

VECTOR_NUMBERS = 256
"""Sinusoids of one number of the size conditioning."""

RESIDUAL_BLOCK = {
    r"\.norm1\.": ".in_layers.0.",
    r"\.conv1\.": ".in_layers.2.",
    r"\.time_emb_proj\.": ".emb_layers.1.",
    r"\.norm2\.": ".out_layers.0.",
    r"\.conv2\.": ".out_layers.3.",
    r"\.conv_shortcut\.": ".skip_connection.",
}
"""Names inside a residual block of a U-Net: diffusers' -> the original's."""

UNET_ENDS = {
    r"^time_embedding\.linear_1\.": "time_embed.0.",
    r"^time_embedding\.linear_2\.": "time_embed.2.",
    r"^(class|add)_embedding\.linear_1\.": "label_emb.0.0.",
    r"^(class|add)_embedding\.linear_2\.": "label_emb.0.2.",
    r"^conv_in\.": "input_blocks.0.0.",
    r"^conv_norm_out\.": "out.0.",
    r"^conv_out\.": "out.2.",
    r"^mid_block\.resnets\.0\.": "middle_block.0.",
    r"^mid_block\.attentions\.0\.": "middle_block.1.",
    r"^mid_block\.resnets\.1\.": "middle_block.2.",
}

VAE_NAMES = {
    r"^(\w+)\.conv_norm_out\.": r"\1.norm_out.",
    r"mid_block\.resnets\.0\.": "mid.block_1.",
    r"mid_block\.resnets\.1\.": "mid.block_2.",
    r"mid_block\.attentions\.0\.": "mid.attn_1.",
    r"attn_1\.group_norm\.": "attn_1.norm.",
    r"attn_1\.to_([qkv])\.": r"attn_1.\1.",
    r"attn_1\.to_out\.0\.": "attn_1.proj_out.",
    r"down_blocks\.(\d+)\.resnets\.": r"down.\1.block.",
    r"down_blocks\.(\d+)\.downsamplers\.0\.": r"down.\1.downsample.",
    r"conv_shortcut\.": "nin_shortcut.",
}

OPEN_CLIP_NAMES = {
    r"^text_model\.": "",
    r"^embeddings\.token_embedding\.": "token_embedding.",
    r"^embeddings\.position_embedding\.weight$": "positional_embedding",
    r"^final_layer_norm\.": "ln_final.",
    r"^encoder\.layers\.": "transformer.resblocks.",
    r"\.layer_norm1\.": ".ln_1.",
    r"\.layer_norm2\.": ".ln_2.",
    r"\.mlp\.fc1\.": ".mlp.c_fc.",
    r"\.mlp\.fc2\.": ".mlp.c_proj.",
    r"\.self_attn\.out_proj\.": ".attn.out_proj.",
}


def rename(name: str, renames: Renames) -> str:
    """Returns a name after all replacements, in their order."""
    for pattern, replacement in renames.items():
        name = re.sub(pattern, replacement, name)
    return name


def original_unet(unet: UNet2DConditionModel) -> StateDict:
    """Returns the weights of a U-Net under their names in the original layout."""
    layers = unet.config.layers_per_block
    attends = [hasattr(block, "attentions") for block in unet.up_blocks]

    def block_name(match: re.Match) -> str:
        """Returns what a module of an encoder's or decoder's block is called in the list of all blocks."""
        side, level, kind, index = match[1], int(match[2]), match[3], int(match[4])
        first = level * (layers + 1) + (1 if side == "down" else 0)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op."
        if kind == "upsamplers":
            return f"output_blocks.{first + layers}.{2 if attends[level] else 1}.conv."
        blocks = "input_blocks" if side == "down" else "output_blocks"
        return f"{blocks}.{first + index}.{0 if kind == 'resnets' else 1}."

    weights = {}
    for name, tensor in unet.state_dict().items():
        where = re.sub(r"^(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(?:conv\.)?", block_name, rename(name, UNET_ENDS))
        weights[rename(where, RESIDUAL_BLOCK) if ".resnets." in name else where] = tensor
    return weights


def original_vae(vae: AutoencoderKL) -> StateDict:
    """Returns the weights of a VAE under their names in the original layout, whose attention is 1x1 convolutions."""
    last = len(vae.decoder.up_blocks) - 1
    decoder = {
        r"up_blocks\.(\d+)\.resnets\.": lambda match: f"up.{last - int(match[1])}.block.",
        r"up_blocks\.(\d+)\.upsamplers\.0\.": lambda match: f"up.{last - int(match[1])}.upsample.",
    }
    weights = {}
    for name, tensor in vae.state_dict().items():
        where = rename(name, {**VAE_NAMES, **decoder})
        is_matrix = ".attn_1." in where and tensor.ndim == 2
        weights[where] = tensor[..., None, None] if is_matrix else tensor
    return weights


def original_open_clip(model: CLIPTextModelWithProjection) -> StateDict:
    """Returns the weights of a text encoder under their names in OpenCLIP, with one matrix for q, k and v."""
    weights, stored = {}, model.state_dict()
    for name, tensor in stored.items():
        if name == "text_projection.weight":
            weights["text_projection"] = tensor.T
        elif ".q_proj." in name:
            parts = [stored[name.replace(".q_proj.", f".{letter}_proj.")] for letter in "qkv"]
            where = rename(name, OPEN_CLIP_NAMES).replace(".self_attn.q_proj.", ".attn.in_proj_")
            weights[where] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            weights[rename(name, OPEN_CLIP_NAMES)] = tensor
    weights["logit_scale"] = torch.tensor(4.6)
    return weights


def original_clip(model: CLIPTextModel) -> StateDict:
    """Returns the weights of a text encoder under transformers' names of old, below `text_model.`."""
    weights = {
        name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in model.state_dict().items()
    }
    count = weights["text_model.embeddings.position_embedding.weight"].shape[0]
    return {**weights, "text_model.embeddings.position_ids": torch.arange(count)[None]}


@dataclass(frozen=True)
class Recipe:
    """A small model as diffusers and transformers make it.

    unet: arguments of the U-Net. texts: prefix in the file -> arguments of a text encoder there, with "projection_dim"
    where it is OpenCLIP. markers: further weights of the file. output_shift: added to whatever the U-Net predicts.
    """

    unet: Mapping[str, Any]
    texts: Mapping[str, Mapping[str, Any]]
    vae: Mapping[str, Any]
    markers: Mapping[str, torch.Tensor] = field(default_factory=dict)
    output_shift: float = 0.0


@dataclass(frozen=True)
class TinyModel:
    """The networks of a recipe with their weights. texts: by prefix."""

    unet: UNet2DConditionModel
    texts: Mapping[str, CLIPTextModel | CLIPTextModelWithProjection]
    vae: AutoencoderKL
    markers: Mapping[str, torch.Tensor]

    def weights(self) -> StateDict:
        """Returns all weights in the original single-file layout, in half precision as most files are."""
        parts = {
            "model.diffusion_model.": original_unet(self.unet),
            "first_stage_model.": original_vae(self.vae),
            **{prefix: ORIGINAL_TEXTS[type(model).__name__](model) for prefix, model in self.texts.items()},
        }
        stored = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
        halved = {key: t.half() if t.is_floating_point() else t for key, t in stored.items()}
        return {key: tensor.contiguous() for key, tensor in {**halved, **self.markers}.items()}


ORIGINAL_TEXTS: dict[str, Callable[[Any], StateDict]] = {
    "CLIPTextModel": original_clip,
    "CLIPTextModelWithProjection": original_open_clip,
}
"""Class of a text encoder -> what names its weights as files do."""


def make(recipe: Recipe, seed: int = 0) -> TinyModel:
    """Makes the networks of a recipe. Their weights are such as half precision holds exactly."""
    torchvision_ops.declare_missing()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**recipe.unet)
        unet.conv_out.bias.data.add_(recipe.output_shift)
        vae = AutoencoderKL(**recipe.vae)
        texts = {}
        for prefix, arguments in recipe.texts.items():
            kind = CLIPTextModelWithProjection if "projection_dim" in arguments else CLIPTextModel
            texts[prefix] = kind(CLIPTextConfig(**arguments))
        model = TinyModel(unet, texts, vae, recipe.markers)
        for network in (unet, vae, *texts.values()):
            vary(network)
    return model


@torch.no_grad()
def vary(network: torch.nn.Module) -> None:
    """Gives a network weights that matter: norms and biases away from their start, all rounded to half precision."""
    network.eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            parameter.add_(torch.randn_like(parameter) * 0.1)
        elif name.startswith("conv_out."):
            parameter.mul_(0.5)
        parameter.copy_(parameter.half().float())


TINY_VAE = {
    "block_out_channels": (32, 32, 32, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "latent_channels": 4,
}

TINY_CLIP_L = {
    "vocab_size": 49408,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 1,
    "hidden_act": "quick_gelu",
}
TINY_CLIP_G = {
    **TINY_CLIP_L,
    "hidden_size": 64,
    "intermediate_size": 128,
    "hidden_act": "gelu",
    "projection_dim": 64,
}


def xl_unet(text_width: int, numbers: int, **changes: Any) -> dict[str, Any]:
    """Returns the arguments of a small U-Net of the XL layout, with as many numbers behind the pooled text."""
    return {
        "block_out_channels": (32, 64, 128),
        "layers_per_block": 2,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (1, 1, 2),
        "use_linear_projection": True,
        "cross_attention_dim": text_width,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": VECTOR_NUMBERS,
        "projection_class_embeddings_input_dim": TINY_CLIP_G["projection_dim"] + VECTOR_NUMBERS * numbers,
        **changes,
    }


SDXL = Recipe(
    unet=xl_unet(text_width=32 + 64, numbers=6),
    texts={"conditioner.embedders.0.transformer.": TINY_CLIP_L, "conditioner.embedders.1.model.": TINY_CLIP_G},
    vae=TINY_VAE,
)

SD2 = Recipe(
    unet={
        "block_out_channels": (32, 64, 128, 128),
        "layers_per_block": 2,
        "attention_head_dim": (1, 1, 2, 2),
        "use_linear_projection": True,
        "cross_attention_dim": TINY_CLIP_G["hidden_size"],
    },
    texts={"cond_stage_model.model.": TINY_CLIP_G},
    vae=TINY_VAE,
)

SD1 = Recipe(
    unet={
        "block_out_channels": (32, 64, 128, 128),
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": TINY_CLIP_L["hidden_size"],
    },
    texts={"cond_stage_model.transformer.": TINY_CLIP_L},
    vae=TINY_VAE,
)

RECIPES = {
    "sd1": SD1,
    "sd2": SD2,
    "sd2-v": replace(SD2, output_shift=-1.0),  # by which such a model is told
    "sd2-inpainting": replace(SD2, unet={**SD2.unet, "in_channels": 9}),
    "sdxl": SDXL,
    "sdxl-v": replace(SDXL, markers={"v_pred": torch.zeros(0)}),
    "sdxl-v-ztsnr": replace(SDXL, markers={"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}),
    "sdxl-inpainting": replace(SDXL, unet={**SDXL.unet, "in_channels": 9}),
    "sdxl-instruct-pix2pix": replace(SDXL, unet={**SDXL.unet, "in_channels": 8}),
    "ssd": replace(
        SDXL,
        unet={
            **SDXL.unet,
            "mid_block_type": "UNetMidBlock2D",
            "transformer_layers_per_block": (1, (1, 1), (2, 2)),
            "reverse_transformer_layers_per_block": ((2, 2, 3), (2, 1, 1), 1),
        },
    ),
    "sdxl-refiner": Recipe(
        unet=xl_unet(
            text_width=64,
            numbers=5,
            block_out_channels=(32, 64, 64, 64),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=1,
            attention_head_dim=1,
        ),
        texts={"conditioner.embedders.0.model.": TINY_CLIP_G},
        vae=TINY_VAE,
    ),
}
"""Name of a kind of checkpoint -> what it is made of."""


def write(kind: str, path: str | Path, seed: int = 0) -> TinyModel:
    """Writes a checkpoint of a kind and returns the networks that are in it."""
    from safetensors.torch import save_file

    model = make(RECIPES[kind], seed)
    save_file(model.weights(), str(path))
    return model


def main() -> None:
    """Writes the checkpoint that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=RECIPES)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write(arguments.kind, arguments.path, arguments.seed)


if __name__ == "__main__":
    main()
