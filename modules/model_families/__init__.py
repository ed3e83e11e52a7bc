"""pure: the table of model families; a checkpoint is of the first one it fits.

A new family is a file with its rows, and their place here; a text encoder of a new kind is moreover a file in
`modules.text_encoders`.
"""

from __future__ import annotations

from modules.model_families.base import (
    DENOISER,
    SIZE_NUMBERS,
    VAE,
    EdmSchedule,
    Family,
    FlowSchedule,
    ImageReader,
    LatentFormat,
    Mmdit,
    NoiseSchedule,
    Schedule,
    Shapes,
    TextEncoder,
    Unet,
    zero_terminal,
)
from modules.model_families.sd1 import INSTRUCT_PIX2PIX, SD1, SD1_INPAINTING, SD1_TINY
from modules.model_families.sd2 import SD2, SD2_DEPTH, SD2_INPAINTING, SD2_UNCLIP_H, SD2_UNCLIP_L
from modules.model_families.sd3 import SD3
from modules.model_families.sdxl import (
    COSXL,
    COSXL_EDIT,
    PLAYGROUND,
    SDXL,
    SDXL_INPAINTING,
    SDXL_PIX2PIX,
    SDXL_REFINER,
    SSD,
)

__all__ = [
    "DENOISER",
    "FAMILIES",
    "SD1",
    "SD2",
    "SD3",
    "SDXL",
    "SIZE_NUMBERS",
    "VAE",
    "EdmSchedule",
    "Family",
    "FlowSchedule",
    "ImageReader",
    "LatentFormat",
    "Mmdit",
    "NoiseSchedule",
    "Schedule",
    "Shapes",
    "TextEncoder",
    "Unet",
    "detect",
    "zero_terminal",
]

FAMILIES: tuple[Family, ...] = (
    SDXL_REFINER,
    PLAYGROUND,
    COSXL,
    COSXL_EDIT,
    SDXL_INPAINTING,
    SDXL_PIX2PIX,
    SDXL,
    SSD,
    SD2_UNCLIP_L,
    SD2_UNCLIP_H,
    SD2_DEPTH,
    SD2_INPAINTING,
    SD2,
    SD1_INPAINTING,
    INSTRUCT_PIX2PIX,
    SD1_TINY,
    SD1,
    SD3,
)


def detect(shapes: Shapes) -> Family | None:
    """Returns the family of a file with these shapes, None if it is of none."""
    return next((family for family in FAMILIES if family.matches(shapes)), None)
