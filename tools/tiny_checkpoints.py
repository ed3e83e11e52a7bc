"""Writes a small checkpoint of a model family with random weights, in the layout in which its real files come.

    python tools/tiny_checkpoints.py sdxl models/Stable-diffusion/tiny-sdxl.safetensors

It draws nothing to look at, but does all that a real one does in seconds. The same seed gives the same weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modules import torchvision_ops
from modules.model_families import diffusers_names
from modules.model_families.diffusers_names import StateDict

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

VECTOR_NUMBERS = 256
"""Sinusoids of one number of the size conditioning."""


def text_weights(model: CLIPTextModel | CLIPTextModelWithProjection) -> StateDict:
    """Returns the weights of a text encoder as files have them: in OpenCLIP's layout if it has a projection."""
    stored = model.state_dict()
    if "text_projection.weight" in stored:
        return {**diffusers_names.original_open_clip(stored), "logit_scale": torch.tensor(4.6)}
    weights = diffusers_names.original_clip(stored)
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
            "model.diffusion_model.": diffusers_names.original_unet(self.unet.state_dict()),
            "first_stage_model.": diffusers_names.original_vae(self.vae.state_dict()),
            **{prefix: text_weights(model) for prefix, model in self.texts.items()},
        }
        stored = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
        halved = {key: t.half() if t.is_floating_point() else t for key, t in stored.items()}
        return {key: tensor.contiguous() for key, tensor in {**halved, **self.markers}.items()}


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
