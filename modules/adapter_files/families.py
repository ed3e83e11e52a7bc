"""pure: for which kind of model a file of networks is, told by the names and shapes in it, else by its header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modules.model_families import Shapes


@dataclass(frozen=True)
class NetworkFamily:
    """A kind of model that networks are made for.

    keys: what names of its layers look like, nothing else's. text_width: of the vectors that cross-attention reads.
    versions: how trainers begin its name in headers.
    """

    name: str
    title: str
    keys: str | None = None
    text_width: int | None = None
    versions: tuple[str, ...] = ()

    def has_keys(self, keys: Iterable[str]) -> bool:
        """Says whether one of the keys looks like its."""
        return self.keys is not None and any(re.search(self.keys, key) for key in keys)


FAMILIES: tuple[NetworkFamily, ...] = (
    NetworkFamily("chroma", "Chroma", r"distilled_guidance_layer", versions=("chroma",)),
    NetworkFamily(
        "hunyuan-video",
        "Hunyuan Video",
        r"img_attn_qkv|token_refiner",
        versions=("hunyuan",),
    ),
    NetworkFamily("flux", "Flux", r"single_blocks|single_transformer_blocks", versions=("flux",)),
    NetworkFamily("qwen-image", "Qwen-Image", r"transformer_blocks.*img_mlp", versions=("qwen",)),
    NetworkFamily(
        "sd3",
        "Stable Diffusion 3",
        r"joint_blocks|transformer_blocks[._]\d+[._]attn[._]|joint_transformer_blocks|add_[qkv]_proj"
        r"|lora_te3|text_encoder_3|t5xxl",
        versions=("sd3", "stable-diffusion-3"),
    ),
    NetworkFamily("pixart", "PixArt", r"adaln_single|caption_projection", versions=("pixart",)),
    NetworkFamily("wan", "Wan", r"blocks[._]\d+[._](self_attn|cross_attn)[._][qkvo]\b", versions=("wan",)),
    NetworkFamily("lumina", "Lumina or Z-Image", r"context_refiner|noise_refiner|layers[._]\d+[._]attention[._]"),
    NetworkFamily(
        "sdxl",
        "Stable Diffusion XL",
        r"lora_te2_|text_encoder_2|clip_g|conditioner|^1_model_|add_embedding|label_emb",
        2048,
        ("sdxl", "stable-diffusion-xl"),
    ),
    NetworkFamily("sdxl-refiner", "the refiner of Stable Diffusion XL", text_width=1280),
    NetworkFamily("sd2", "Stable Diffusion 2", text_width=1024, versions=("sd_v2", "stable-diffusion-v2")),
    NetworkFamily("sd1", "Stable Diffusion 1", text_width=768, versions=("sd_v1", "stable-diffusion-v1")),
)
"""In the order in which they are tried."""

CROSS_ATTENTION = re.compile(r"attn2[._]to_[kv]\.(lora[_.](linear_layer\.)?(down|A)|hada_w1_b|diff)")
TEXT_ENCODER = re.compile(
    r"^(lora_te_|text_encoder\.|clip_l\.).*(q_proj|fc1)\.(lora[_.](linear_layer\.)?(down|A)|hada_w1_b|diff)"
)
"""Tensors whose last axis is as wide as a text's vectors."""


def family_of(shapes: Shapes, metadata: Mapping[str, Any]) -> NetworkFamily | None:
    """Returns what a file is for, None if nothing tells."""
    by_keys = next((family for family in FAMILIES if family.has_keys(shapes)), None)
    if by_keys is not None:
        return by_keys
    for pattern in (CROSS_ATTENTION, TEXT_ENCODER):
        widths = {shape[1] for key, shape in shapes.items() if len(shape) > 1 and pattern.search(key)}
        by_width = next((family for family in FAMILIES if family.text_width in widths), None)
        if by_width is not None:
            return by_width
    return by_header(metadata)


def by_header(metadata: Mapping[str, Any]) -> NetworkFamily | None:
    """Returns what trainers wrote into the header, None if they did not."""
    version = str(metadata.get("ss_base_model_version") or metadata.get("modelspec.architecture") or "").lower()
    if not version and metadata.get("ss_v2") == "True":
        version = "sd_v2"
    return next((family for family in FAMILIES if version.startswith(family.versions)), None) if version else None
