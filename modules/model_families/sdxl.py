"""pure: Stable Diffusion XL (Podell et al. 2023, arXiv:2307.01952): base, refiner, and what is made of the base.

Two text encoders stand side by side; the second one's pooled vector and six numbers about the image's size join the
timestep. Turbo, Lightning, LCM and Hyper are plain files of the base. SSD-1B and Segmind-Vega are the base with blocks
taken out, the one in the middle among them.
"""

from __future__ import annotations

from dataclasses import replace

from modules.model_families.base import (
    EDITED,
    MASKED,
    EdmSchedule,
    Family,
    LatentFormat,
    ShapePattern,
    TextEncoder,
    Unet,
)
from modules.model_families.sd1 import CLIP_L as SD1_CLIP_L
from modules.model_families.sd1 import IGNORED, INPUT_CONVOLUTION

UNET = "model.diffusion_model."
VECTOR_EMBEDDING = f"{UNET}label_emb.0.0.weight"
MIDDLE_ATTENTION = f"{UNET}middle_block.1.transformer_blocks.0.attn1.to_q.weight"
LAST_LEVEL = f"{UNET}input_blocks.11.0.in_layers.2.weight"
ANY_MATRIX: ShapePattern = (None, None)
ANY_KERNEL: ShapePattern = (None, None, 3, 3)

SDXL_LATENTS = LatentFormat(
    channels=4,
    scale=0.13025,
    shift=0.0,
    downscale=8,
    rgb_rows=(
        (0.3448, 0.4168, 0.4395),
        (-0.1953, -0.0290, 0.0250),
        (0.1074, 0.0886, -0.0163),
        (-0.3730, -0.2499, -0.2088),
    ),
    approx_url="https://github.com/AUTOMATIC1111/stable-diffusion-webui/releases/download/v1.0.0-pre/vaeapprox-sdxl.pt",
    taesd="taesdxl",
)

CLIP_L = replace(
    SD1_CLIP_L,
    prefix="conditioner.embedders.0.transformer.",
    layer=2,
    clip_skip="optional",
    final_norm=False,
)

CLIP_G = TextEncoder(
    name="clip_g",
    kind="clip",
    prefix="conditioner.embedders.1.model.",
    tokenizer=SD1_CLIP_L.tokenizer,
    file_width=1280,
    activation="gelu",
    layer=2,
    clip_skip="never",
    final_norm=False,
    pooled=True,
    projection=True,
    pad_token=0,
    embedding_key="clip_g",
    ignored=("logit_scale", "attn_mask", "text_model.embeddings.position_ids"),
)

SDXL_IGNORED = (*IGNORED, "conditioner.embedders.0.logit_scale", "denoiser.sigmas", "edm_", "v_pred", "ztsnr")
"""Beside what training leaves behind: weights that say how the model was trained, see `sd_models_config`."""


def row(name: str, title: str, input_channels: int = 4, config: str = "sd_xl_base.yaml", **more: str) -> Family:
    """Returns a family with the networks of SDXL's base whose U-Net takes this many channels."""
    return Family(
        name=name,
        title=title,
        keys={
            INPUT_CONVOLUTION: (None, input_channels, 3, 3),
            VECTOR_EMBEDDING: ANY_MATRIX,
            MIDDLE_ATTENTION: ANY_MATRIX,
            f"{CLIP_L.prefix}text_model.embeddings.token_embedding.weight": ANY_MATRIX,
        },
        architecture="sdxl",
        latent_format=SDXL_LATENTS,
        text_encoders=(CLIP_L, CLIP_G),
        denoiser=Unet(head_width=64),
        conditioning_key="crossattn",
        config=config,
        joined_by="xl",
        size_keys=("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple"),
        has_own_schedule=False,
        ignored=SDXL_IGNORED,
        **more,
    )


SDXL = row("sdxl", "Stable Diffusion XL")
SDXL_INPAINTING = row("sdxl-inpainting", "Stable Diffusion XL inpainting", 9, "sd_xl_inpaint.yaml", image=MASKED)
SDXL_PIX2PIX = row("sdxl-instruct-pix2pix", "InstructPix2Pix XL", 8, image=EDITED, cond_stage_key="edit")
SSD = replace(
    SDXL,
    name="ssd",
    title="Stable Diffusion XL, pruned",
    keys={key: shape for key, shape in SDXL.keys.items() if key != MIDDLE_ATTENTION},
)


def standardized(latents: LatentFormat, scale: float, **statistics: tuple[float, ...]) -> LatentFormat:
    """Returns the latents of the same VAE with each channel brought to one mean and deviation, then scaled.

    statistics: means and deviations of the channels. What the linear map of colours knows carries over.
    """
    means, deviations = statistics["means"], statistics["deviations"]
    rows = list(zip(latents.rgb_rows, means, deviations, strict=True))
    return replace(
        latents,
        scale=scale,
        **statistics,
        rgb_rows=tuple(tuple(c * latents.scale * std / scale for c in row) for row, _, std in rows),
        rgb_bias=tuple(sum(row[i] * latents.scale * mean for row, mean, _ in rows) for i in range(3)),
        approx_url=None,
        taesd=None,
    )


PLAYGROUND = replace(
    SDXL,
    name="sdxl-playground",
    title="Playground 2.5",
    keys={**SDXL.keys, "edm_mean": None, "edm_std": None},
    latent_format=standardized(
        SDXL_LATENTS,
        scale=0.5,
        means=(-1.6574, 1.886, -1.383, 2.5155),
        deviations=(8.4927, 5.9022, 6.5498, 5.2299),
    ),
    parameterization="edm",
    schedule=EdmSchedule(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5),
)
COS_SIGMA_MAX, COS_SIGMA_MIN = "edm_vpred.sigma_max", "edm_vpred.sigma_min"
COSXL = replace(
    SDXL,
    name="sdxl-cosxl",
    title="CosXL",
    keys={**SDXL.keys, COS_SIGMA_MAX: None},
    parameterization="edm_v",
    schedule=EdmSchedule(sigma_min=0.002, sigma_max=120.0, sigma_data=1.0),
    schedule_keys={"sigma_max": COS_SIGMA_MAX, "sigma_min": COS_SIGMA_MIN},
)
COSXL_EDIT = replace(
    COSXL,
    name="sdxl-cosxl-edit",
    title="CosXL Edit",
    keys={**SDXL_PIX2PIX.keys, COS_SIGMA_MAX: None},
    image=EDITED,
    image_is_scaled=True,
    cond_stage_key="edit",
)

REFINER_CLIP_G = replace(CLIP_G, prefix="conditioner.embedders.0.model.")
SDXL_REFINER = replace(
    SDXL,
    name="sdxl-refiner",
    title="Stable Diffusion XL refiner",
    keys={
        INPUT_CONVOLUTION: (None, 4, 3, 3),
        VECTOR_EMBEDDING: ANY_MATRIX,
        LAST_LEVEL: ANY_KERNEL,
        f"{REFINER_CLIP_G.prefix}ln_final.weight": (None,),
    },
    text_encoders=(REFINER_CLIP_G,),
    config="sd_xl_refiner.yaml",
    size_keys=("original_size_as_tuple", "crop_coords_top_left", "aesthetic_score"),
)
