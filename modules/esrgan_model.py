"""engine: the ESRGAN upscaler, whose folder also takes models of every other architecture that spandrel knows."""

from __future__ import annotations

from typing import Any

from PIL import Image

from modules.shared import opts
from modules.upscaler_utils import SpandrelUpscaler, upscale_with_model


class UpscalerESRGAN(SpandrelUpscaler):
    name = "ESRGAN"
    model_name = "ESRGAN_4x"
    model_url = "https://github.com/cszn/KAIR/releases/download/v1.0/ESRGAN.pth"
    architecture = "ESRGAN"

    def __init__(self, dirname: str | None = None):
        self.user_path = dirname
        super().__init__()
        self.add_found_models([".pt", ".pth", ".safetensors"])

    def apply(self, model: Any, img: Image.Image) -> Image.Image:
        return esrgan_upscale(model, img)


def esrgan_upscale(model: Any, img: Image.Image) -> Image.Image:
    """Return img as the network enlarges it, with the tile settings of ESRGAN."""
    return upscale_with_model(model, img, tile_size=opts.ESRGAN_tile, tile_overlap=opts.ESRGAN_tile_overlap)
