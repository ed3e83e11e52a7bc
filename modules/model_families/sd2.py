"""pure: Stable Diffusion 2: base and 768-v, which differ in what they predict, and the inpainting variant.

The U-Net of Stable Diffusion 1 with attention heads of one width, told by OpenCLIP ViT-H (Cherti et al. 2022,
arXiv:2212.07143). No shape tells base from 768-v; the prediction of the network does.
"""

from __future__ import annotations

from modules.model_families.base import Family, ShapePattern, TextEncoder, Unet
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
    name: str, title: str, input_channels: int, conditioning_key: str, config: str, parameterization: str | None
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
        unet=Unet(head_width=64, takes_image=input_channels > SD1_LATENTS.channels),
        conditioning_key=conditioning_key,
        config=config,
        parameterization=parameterization,
        ignored=(*IGNORED, "v_pred", "ztsnr"),
        unsupported={
            "depth_model.": "a depth model of Stable Diffusion 2",
            "embedder.model.": "an unCLIP model of Stable Diffusion 2",
        },
    )


SD2 = row("sd2", "Stable Diffusion 2", 4, "crossattn", "v2-inference.yaml", None)
SD2_INPAINTING = row(
    "sd2-inpainting", "Stable Diffusion 2 inpainting", 9, "hybrid", "v2-inpainting-inference.yaml", "eps"
)
