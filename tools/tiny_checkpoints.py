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
from modules.model_families.diffusers_names import OPEN_CLIP_NAMES, Renames, StateDict, rename

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection, T5EncoderModel

VECTOR_NUMBERS = 256
"""Sinusoids of one number of the size conditioning."""


VISION_NAMES = {
    r"^vision_model\.": "",
    r"^embeddings\.class_embedding$": "class_embedding",
    r"^embeddings\.patch_embedding\.": "conv1.",
    r"^embeddings\.position_embedding\.weight$": "positional_embedding",
    r"^pre_layrnorm\.": "ln_pre.",
    r"^post_layernorm\.": "ln_post.",
    **{name: new for name, new in OPEN_CLIP_NAMES.items() if "embeddings" not in name and "final" not in name},
    r"^encoder\.layers\.": "transformer.resblocks.",
}


def original_vision(model: CLIPVisionModelWithProjection) -> StateDict:
    """Returns the weights of an image encoder under their names in OpenCLIP, below `visual.`."""
    return open_clip_half(model, VISION_NAMES)


def open_clip_half(model: torch.nn.Module, names: Renames) -> StateDict:
    """Returns the weights of one half of CLIP under OpenCLIP's names, with one matrix for q, k and v."""
    weights, stored = {}, model.state_dict()
    for name, tensor in stored.items():
        if name in ("text_projection.weight", "visual_projection.weight"):
            weights["proj" if name.startswith("visual") else "text_projection"] = tensor.T
        elif ".q_proj." in name:
            parts = [stored[name.replace(".q_proj.", f".{letter}_proj.")] for letter in "qkv"]
            where = rename(name, names).replace(".self_attn.q_proj.", ".attn.in_proj_")
            weights[where] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            weights[rename(name, names)] = tensor
    return weights


def original_clip(model: CLIPTextModel) -> StateDict:
    """Returns the weights of a text encoder under transformers' names of old, below `text_model.`."""
    stored = dict(model.state_dict())
    projection = stored.pop("text_projection.weight", None)
    weights = diffusers_names.original_clip(stored)
    if projection is not None:
        weights["text_projection.weight"] = projection
    count = weights["text_model.embeddings.position_embedding.weight"].shape[0]
    return {**weights, "text_model.embeddings.position_ids": torch.arange(count)[None]}


def original_t5(model: T5EncoderModel) -> StateDict:
    """Returns the weights of T5's encoder under the names of its files."""
    return {name: tensor for name, tensor in model.state_dict().items() if name != "encoder.embed_tokens.weight"}


@dataclass(frozen=True)
class Recipe:
    """A small model as diffusers and transformers make it.

    unet: arguments of the U-Net, None for a model with a transformer, whose arguments those of transformer are. texts:
    prefix in the file -> arguments of a text encoder there: of T5 if they have "d_model", else of CLIP, with
    "projection_dim" where it is OpenCLIP. markers: further weights of the file. output_shift: added to whatever the
    U-Net predicts. vision: arguments of unCLIP's image encoder.
    """

    unet: Mapping[str, Any] | None
    texts: Mapping[str, Mapping[str, Any]]
    vae: Mapping[str, Any]
    markers: Mapping[str, torch.Tensor] = field(default_factory=dict)
    output_shift: float = 0.0
    transformer: Mapping[str, Any] | None = None
    vision: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TinyModel:
    """The networks of a recipe with their weights. texts: by prefix."""

    unet: UNet2DConditionModel | None
    texts: Mapping[str, CLIPTextModel | CLIPTextModelWithProjection | T5EncoderModel]
    vae: AutoencoderKL
    markers: Mapping[str, torch.Tensor]
    transformer: SD3Transformer2DModel | None = None
    vision: CLIPVisionModelWithProjection | None = None

    def weights(self) -> StateDict:
        """Returns all weights in the original single-file layout, in half precision as most files are."""
        parts = {
            "model.diffusion_model.": diffusers_names.original_mmdit(self.transformer.state_dict())
            if self.transformer
            else diffusers_names.original_unet(self.unet.state_dict()),
            "first_stage_model.": diffusers_names.original_vae(self.vae.state_dict()),
            **{prefix: original_text(prefix, model) for prefix, model in self.texts.items()},
        }
        if self.vision is not None:
            parts["embedder.model.visual."] = original_vision(self.vision)
        stored = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
        halved = {key: t.half() if t.is_floating_point() else t for key, t in stored.items()}
        return {key: tensor.contiguous() for key, tensor in {**halved, **self.markers}.items()}


def original_text(prefix: str, model: Any) -> StateDict:
    """Returns the weights of a text encoder under their names in files; those of SD3 have all in transformers' layout.

    They hold no projection of the first one, which is none.
    """
    kind = type(model).__name__
    if kind == "T5EncoderModel":
        return original_t5(model)
    if kind == "CLIPTextModel" or prefix.startswith("text_encoders."):
        weights = original_clip(model)
        return {name: tensor for name, tensor in weights.items() if "clip_l" not in prefix or "projection" not in name}
    return {**diffusers_names.original_open_clip(model.state_dict()), "logit_scale": torch.tensor(4.6)}


def make(recipe: Recipe, seed: int = 0) -> TinyModel:
    """Makes the networks of a recipe. Their weights are such as half precision holds exactly."""
    torchvision_ops.declare_missing()
    from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = None if recipe.unet is None else UNet2DConditionModel(**recipe.unet)
        transformer = None if recipe.transformer is None else SD3Transformer2DModel(**recipe.transformer)
        if unet is not None:
            unet.conv_out.bias.data.add_(recipe.output_shift)
        vae = AutoencoderKL(**recipe.vae)
        texts = {prefix: text_encoder(arguments) for prefix, arguments in recipe.texts.items()}
        vision = None if recipe.vision is None else CLIPVisionModelWithProjection(CLIPVisionConfig(**recipe.vision))
        model = TinyModel(unet, texts, vae, recipe.markers, transformer, vision)
        for network in (unet, transformer, vae, *texts.values(), vision):
            if network is not None:
                vary(network)
        for prefix, text in texts.items():
            if prefix.startswith("text_encoders.clip_l"):
                text.text_projection.weight.copy_(torch.eye(text.config.projection_dim))
    return model


def text_encoder(arguments: Mapping[str, Any]) -> CLIPTextModel | CLIPTextModelWithProjection | T5EncoderModel:
    """Makes the text encoder of a recipe."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

    if "d_model" in arguments:
        return T5EncoderModel(T5Config(**arguments))
    kind = CLIPTextModelWithProjection if "projection_dim" in arguments else CLIPTextModel
    return kind(CLIPTextConfig(**arguments))


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
    for name, buffer in network.named_buffers():
        if name == "pos_embed.pos_embed":  # stored beside the weights
            buffer.copy_(buffer.half().float())


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

SD3_TEXTS = {
    "text_encoders.clip_l.transformer.": {**TINY_CLIP_L, "projection_dim": TINY_CLIP_L["hidden_size"]},
    "text_encoders.clip_g.transformer.": TINY_CLIP_G,
}
TINY_T5 = {
    "vocab_size": 128,
    "d_model": 128,
    "d_kv": 16,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
}
SD3 = Recipe(
    unet=None,
    transformer={
        "sample_size": 32,
        "in_channels": 16,
        "num_layers": 3,
        "num_attention_heads": 1,
        "attention_head_dim": 64,
        "joint_attention_dim": TINY_T5["d_model"],
        "caption_projection_dim": 64,
        "pooled_projection_dim": 32 + 64,
        "pos_embed_max_size": 32,
    },
    texts=SD3_TEXTS,
    vae={**TINY_VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False},
)
SD35 = replace(SD3, transformer={**SD3.transformer, "qk_norm": "rms_norm"})

COS_RANGE = {"edm_vpred.sigma_max": torch.tensor(120.0), "edm_vpred.sigma_min": torch.tensor(0.002)}

TINY_VISION = {
    "hidden_size": 80,
    "intermediate_size": 64,
    "projection_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "image_size": 32,
    "patch_size": 8,
    "hidden_act": "gelu",
}
SD2_UNCLIP = replace(
    SD2,
    unet={**SD2.unet, "class_embed_type": "projection", "projection_class_embeddings_input_dim": 2 * 32},
    vision=TINY_VISION,
    markers={
        "embedder.model.ln_final.weight": torch.ones(64),
        "noise_augmentor.data_mean": torch.linspace(-1, 1, 32)[None],
        "noise_augmentor.data_std": torch.linspace(0.5, 2, 32)[None],
    },
)

RECIPES = {
    "sd1": SD1,
    "sd2": SD2,
    "sd2-v": replace(SD2, output_shift=-1.0),  # by which such a model is told
    "sd2-inpainting": replace(SD2, unet={**SD2.unet, "in_channels": 9}),
    "sd2-depth": replace(SD2, unet={**SD2.unet, "in_channels": 5}),
    "sd2-unclip": SD2_UNCLIP,
    "sdxl": SDXL,
    "sdxl-v": replace(SDXL, markers={"v_pred": torch.zeros(0)}),
    "sdxl-v-ztsnr": replace(SDXL, markers={"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}),
    "sdxl-inpainting": replace(SDXL, unet={**SDXL.unet, "in_channels": 9}),
    "sdxl-instruct-pix2pix": replace(SDXL, unet={**SDXL.unet, "in_channels": 8}),
    "sdxl-playground": replace(
        SDXL,
        markers={
            "edm_mean": torch.tensor([-1.6574, 1.886, -1.383, 2.5155]).view(1, 4, 1, 1),
            "edm_std": torch.tensor([8.4927, 5.9022, 6.5498, 5.2299]).view(1, 4, 1, 1),
        },
    ),
    "sdxl-cosxl": replace(SDXL, markers=COS_RANGE),
    "sdxl-cosxl-edit": replace(SDXL, unet={**SDXL.unet, "in_channels": 8}, markers=COS_RANGE),
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
    "sd3": SD3,
    "sd3-t5": replace(SD3, texts={**SD3_TEXTS, "text_encoders.t5xxl.transformer.": TINY_T5}),
    "sd3.5-large": SD35,
    "sd3.5-medium": replace(SD35, transformer={**SD35.transformer, "dual_attention_layers": (0, 1)}),
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
