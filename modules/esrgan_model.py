"""engine: the ESRGAN upscaler, whose folder also takes models of every other architecture that spandrel knows."""

from __future__ import annotations

from typing import Any

from PIL import Image

from modules import shared
from modules.upscaler import UpscalerSettings
from modules.upscaler_utils import SpandrelUpscaler, upscale_with_model


class UpscalerESRGAN(SpandrelUpscaler):
    """The model files of the folder ESRGAN, or one that can be downloaded."""

    name = "ESRGAN"
    model_name = "ESRGAN_4x"
    model_url = "https://github.com/cszn/KAIR/releases/download/v1.0/ESRGAN.pth"
    architecture = "ESRGAN"

    def __init__(self, dirname: str | None = None):
        self.user_path = dirname
        super().__init__()
        self.add_found_models([".pt", ".pth", ".safetensors"])


def esrgan_upscale(model: Any, img: Image.Image) -> Image.Image:
    """Returns img as the network enlarges it, with the tile settings of ESRGAN."""
    tiles = UpscalerSettings.from_opts(shared.opts).tiles("ESRGAN")
    return upscale_with_model(model, img, tile_size=tiles.size, tile_overlap=tiles.overlap)
