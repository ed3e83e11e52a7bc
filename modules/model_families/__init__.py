"""pure: the table of model families; a checkpoint is of the first one it fits.

A new family is a file with its rows, and their place here; a text encoder of a new kind is moreover a file in
`modules.text_encoders`.
"""

from __future__ import annotations

from modules.model_families.base import (
    DENOISER,
    VAE,
    Family,
    LatentFormat,
    NoiseSchedule,
    Schedule,
    Shapes,
    TextEncoder,
    Unet,
)
from modules.model_families.sd1 import INSTRUCT_PIX2PIX, SD1, SD1_INPAINTING, SD1_TINY

__all__ = [
    "DENOISER",
    "FAMILIES",
    "OLD_PREFIXES",
    "SD1",
    "VAE",
    "Family",
    "LatentFormat",
    "NoiseSchedule",
    "Schedule",
    "Shapes",
    "TextEncoder",
    "Unet",
    "detect",
]

OLD_PREFIXES: dict[str, str] = {
    f"cond_stage_model.transformer.{part}.": f"cond_stage_model.transformer.text_model.{part}."
    for part in ("embeddings", "encoder", "final_layer_norm")
}
"""First parts of keys in files made with an older transformers -> what they are today."""

FAMILIES: tuple[Family, ...] = (SD1_INPAINTING, INSTRUCT_PIX2PIX, SD1_TINY, SD1)


def detect(shapes: Shapes) -> Family | None:
    """Returns the family of a file with these shapes, None if it is of none."""
    return next((family for family in FAMILIES if family.matches(shapes)), None)
