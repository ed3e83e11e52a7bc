"""pure: Stable Diffusion 1, its inpainting variant and InstructPix2Pix: one network with different input channels.

Inpainting adds a mask and a masked latent (4 + 1 + 4 channels), InstructPix2Pix the latent of the image to edit
(4 + 4).
"""

from __future__ import annotations

from dataclasses import replace

from modules.model_families.base import EDITED, MASKED, Family, LatentFormat, ShapePattern, TextEncoder, Unet

INPUT_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
TOKEN_EMBEDDING = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
ANY_TOKEN_EMBEDDING: ShapePattern = (None, None)

SD1_LATENTS = LatentFormat(
    channels=4,
    scale=0.18215,
    shift=0.0,
    downscale=8,
    rgb_rows=((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473)),
    approx_url="https://github.com/AUTOMATIC1111/stable-diffusion-webui/raw/v1.10.1/models/VAE-approx/model.pt",
    taesd="taesd",
)

CLIP_L = TextEncoder(
    name="clip_l",
    kind="clip",
    prefix="cond_stage_model.transformer.",
    tokenizer="clip-tokenizer",
    file_width=768,
    embedding_key="clip_l",
    # The rest of CLIP: its half for images, and where the halves meet.
    ignored=("text_model.embeddings.position_ids", "text_projection", "logit_scale", "vision_model.", "visual_proj"),
    # Files made with an older transformers have one level less.
    renamed=tuple((f"{part}.", f"text_model.{part}.") for part in ("embeddings", "encoder", "final_layer_norm")),
)

IGNORED = (
    "alphas_cumprod",
    "betas",
    "cond_stage_model.logit_scale",
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
    "log_one_minus_alphas_cumprod",
    "logvar",
    "loss.",
    "lvlb_weights",
    "model_ema.",
    "posterior_",
    "sqrt_",
)
"""First parts of keys that the training leaves behind."""


def row(name: str, title: str, input_channels: int, conditioning_key: str, config: str, **more: str) -> Family:
    """Returns a family with SD1's networks whose U-Net takes this many channels."""
    return Family(
        name=name,
        title=title,
        keys={INPUT_CONVOLUTION: (None, input_channels, 3, 3), TOKEN_EMBEDDING: ANY_TOKEN_EMBEDDING},
        architecture="sd1",
        latent_format=SD1_LATENTS,
        text_encoders=(CLIP_L,),
        denoiser=Unet(heads=8),
        conditioning_key=conditioning_key,
        config=config,
        ignored=IGNORED,
        **more,
    )


SD1 = row("sd1", "Stable Diffusion 1", 4, "crossattn", "v1-inference.yaml")
SD1_INPAINTING = row(
    "sd1-inpainting", "Stable Diffusion 1 inpainting", 9, "hybrid", "v1-inpainting-inference.yaml", image=MASKED
)
INSTRUCT_PIX2PIX = row(
    "instruct-pix2pix", "InstructPix2Pix", 8, "hybrid", "instruct-pix2pix.yaml", image=EDITED, cond_stage_key="edit"
)

# The checkpoint that comes with the program: SD1 throughout, but with a VAE of its own, on which the previews made for
# SD1 show other colours. Its linear map is a least squares fit on images it draws.
SD1_TINY = replace(
    SD1,
    name="sd1-tiny",
    title="Stable Diffusion 1, tiny",
    keys={INPUT_CONVOLUTION: (64, 4, 3, 3), TOKEN_EMBEDDING: (None, 128)},
    latent_format=LatentFormat(
        channels=4,
        scale=SD1_LATENTS.scale,
        shift=0.0,
        downscale=8,
        rgb_rows=((-0.158, -0.355, -0.232), (0.243, -0.276, -0.156), (0.0, 0.082, -0.444), (0.187, 0.229, 0.029)),
        rgb_bias=(0.634, 0.414, 0.390),
    ),
)
