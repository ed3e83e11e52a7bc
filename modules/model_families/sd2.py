"""pure: Stable Diffusion 2: base and 768-v, which differ in what they predict, and those that are told an image.

The U-Net of Stable Diffusion 1 with attention heads of one width, told by OpenCLIP ViT-H (Cherti et al. 2022,
arXiv:2212.07143). No shape tells base from 768-v; the prediction of the network does.
"""

from __future__ import annotations

from dataclasses import replace

from modules.model_families.base import DEPTH, EMBEDDED, MASKED, Family, ImageReader, ShapePattern, TextEncoder, Unet
from modules.model_families.sd1 import CLIP_L, IGNORED, INPUT_CONVOLUTION, SD1_LATENTS

LINEAR_PROJECTION = "model.diffusion_model.input_blocks.1.1.proj_in.weight"
"""A matrix here, a convolution in Stable Diffusion 1: so U-Nets are told apart without their text encoders."""

ANY_MATRIX: ShapePattern = (None, None)

CLIP_H = TextEncoder(
    name="clip_h",
    kind="clip",
    prefix="cond_stage_model.model.",
    tokenizer=CLIP_L.tokenizer,
    file_width=1024,
    activation="gelu",
    layer=2,
    cut_layers=23,  # made of the files of diffusers
    clip_skip="never",
    pad_token=0,
    embedding_key="clip_h",
    ignored=("attn_mask", "logit_scale", "text_projection"),
)


def row(
    name: str,
    title: str,
    input_channels: int,
    conditioning_key: str,
    config: str,
    parameterization: str | None,
    image: str | None = None,
) -> Family:
    """Returns a family with the networks of Stable Diffusion 2 whose U-Net takes this many channels."""
    return Family(
        name=name,
        title=title,
        keys={
            INPUT_CONVOLUTION: (None, input_channels, 3, 3),
            LINEAR_PROJECTION: ANY_MATRIX,
            f"{CLIP_H.prefix}transformer.resblocks.0.attn.in_proj_weight": ANY_MATRIX,
        },
        architecture="sd2",
        latent_format=SD1_LATENTS,
        text_encoders=(CLIP_H,),
        denoiser=Unet(head_width=64),
        conditioning_key=conditioning_key,
        config=config,
        image=image,
        parameterization=parameterization,
        ignored=(*IGNORED, "v_pred", "ztsnr"),
    )


SD2 = row("sd2", "Stable Diffusion 2", 4, "crossattn", "v2-inference.yaml", None)
SD2_INPAINTING = row(
    "sd2-inpainting", "Stable Diffusion 2 inpainting", 9, "hybrid", "v2-inpainting-inference.yaml", "eps", MASKED
)
SD2_DEPTH = row("sd2-depth", "Stable Diffusion 2 depth", 5, "hybrid", "v2-midas-inference.yaml", "eps", DEPTH)
SD2_DEPTH = replace(SD2_DEPTH, ignored=(*SD2_DEPTH.ignored, "depth_model."))  # see `modules.image_readers.depth`

TEXT_NORM = "embedder.model.ln_final.weight"
"""Of the half for texts of unCLIP's CLIP, which nothing needs, but whose width tells which CLIP it is."""


def unclip(name: str, config: str, text_norm: ShapePattern, activation: str) -> Family:
    """Returns a family whose U-Net is told an image by a vector of CLIP."""
    base = row(name, "Stable Diffusion 2 unCLIP", 4, "crossattn", config, "v", EMBEDDED)
    embedder = ImageReader(
        name="embedder",
        kind="clip_vision",
        prefix="embedder.model.",
        activation=activation,
        head_width=80 if activation == "gelu" else 64,
        ignored=(
            "attn_mask",
            "ln_final.",
            "logit_scale",
            "positional_embedding",
            "text_projection",
            "token_embedding.",
            "transformer.",
        ),
    )
    augmentor = ImageReader(
        name="noise_augmentor",
        kind="noise_augmentor",
        prefix="noise_augmentor.",
        ignored=("alphas_cumprod", "betas", "log_one_minus_alphas_cumprod", "posterior_", "sqrt_"),
    )
    return replace(
        base,
        keys={**base.keys, TEXT_NORM: text_norm},
        image_readers=(embedder, augmentor),
        ignored=(*base.ignored, "embedder.mean", "embedder.std"),
    )


SD2_UNCLIP_L = unclip("sd2-unclip-l", "v2-1-stable-unclip-l-inference.yaml", (768,), "quick_gelu")
SD2_UNCLIP_H = unclip("sd2-unclip-h", "v2-1-stable-unclip-h-inference.yaml", (None,), "gelu")
