"""pure: Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv:2403.03206): a transformer on rectified flow.

Medium and large, and 3 and 3.5, differ in sizes alone. T5 may be left out: where its vectors belong are zeros then.
"""

from __future__ import annotations

from dataclasses import replace

from modules.model_families.base import Family, FlowSchedule, LatentFormat, Mmdit, ShapePattern, TextEncoder
from modules.model_families.sd1 import CLIP_L as SD1_CLIP_L
from modules.model_families.sd1 import IGNORED

ANY_MATRIX: ShapePattern = (None, None)

SD3_LATENTS = LatentFormat(
    channels=16,
    scale=1.5305,
    shift=0.0609,
    downscale=8,
    rgb_rows=(
        (-0.0645, 0.0177, 0.1052),
        (0.0028, 0.0312, 0.0650),
        (0.1848, 0.0762, 0.0360),
        (0.0944, 0.0360, 0.0889),
        (0.0897, 0.0506, -0.0364),
        (-0.0020, 0.1203, 0.0284),
        (0.0855, 0.0118, 0.0283),
        (-0.0539, 0.0658, 0.1047),
        (-0.0057, 0.0116, 0.0700),
        (-0.0412, 0.0281, -0.0039),
        (0.1106, 0.1171, 0.1220),
        (-0.0248, 0.0682, -0.0481),
        (0.0815, 0.0846, 0.1207),
        (-0.0120, -0.0055, -0.0867),
        (-0.0749, -0.0634, -0.0456),
        (-0.1418, -0.1457, -0.1259),
    ),
    approx_url="https://github.com/AUTOMATIC1111/stable-diffusion-webui/releases/download/v1.0.0-pre/vaeapprox-sd3.pt",
    taesd="taesd3",
)

CLIP_L = replace(
    SD1_CLIP_L,
    prefix="text_encoders.clip_l.transformer.",
    layer=2,
    clip_skip="never",
    final_norm=False,
    pooled=True,
    padded=True,
)

CLIP_G = TextEncoder(
    name="clip_g",
    kind="clip",
    prefix="text_encoders.clip_g.transformer.",
    tokenizer=SD1_CLIP_L.tokenizer,
    activation="gelu",
    layer=2,
    clip_skip="never",
    final_norm=False,
    pooled=True,
    projection=True,
    pad_token=0,
    embedding_key="clip_g",
    file_width=1280,
    ignored=("logit_scale", "attn_mask", "text_model.embeddings.position_ids"),
    padded=True,
)

T5_XXL = TextEncoder(
    name="t5xxl",
    kind="t5",
    prefix="text_encoders.t5xxl.transformer.",
    tokenizer="t5-tokenizer",
    clip_skip="never",
    optional=True,
    file_width=4096,
    enabled_by="sd3_enable_t5",
    # Said twice in files: as what the encoder embeds words with, and as what it shares with a decoder it does not have.
    ignored=("encoder.embed_tokens.",),
)

SD3 = Family(
    name="sd3",
    title="Stable Diffusion 3",
    keys={
        "model.diffusion_model.x_embedder.proj.weight": (None, None, None, None),
        "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": ANY_MATRIX,
    },
    architecture="sd3",
    latent_format=SD3_LATENTS,
    text_encoders=(CLIP_L, CLIP_G, T5_XXL),
    denoiser=Mmdit(),
    conditioning_key="crossattn",
    config="sd3-inference.yaml",
    joined_by="sd3",
    parameterization="flow",
    has_own_schedule=False,
    schedule=FlowSchedule(shift=3.0),
    ignored=(*IGNORED, *(f"text_encoders.{name}.logit_scale" for name in ("clip_l", "clip_g", "t5xxl"))),
)
