"""engine: the HAT upscaler. It has no download: files are put into its folder by hand."""

from __future__ import annotations

from typing import Any

from PIL import Image

from modules.shared import opts
from modules.upscaler_utils import SpandrelUpscaler, upscale_with_model


class UpscalerHAT(SpandrelUpscaler):
    name = "HAT"
    architecture = "HAT"

    def __init__(self, dirname: str | None = None):
        self.user_path = dirname
        super().__init__()
        self.add_found_models([".pt", ".pth", ".safetensors"])

    def apply(self, model: Any, img: Image.Image) -> Image.Image:
        return upscale_with_model(model, img, tile_size=opts.ESRGAN_tile, tile_overlap=opts.ESRGAN_tile_overlap)
