"""engine: the ScuNET "upscaler": it removes noise, and the picture is then resized."""

from __future__ import annotations

from typing import Any

from PIL import Image

from modules.shared import opts
from modules.upscaler import UpscalerData
from modules.upscaler_utils import SpandrelUpscaler, upscale_2


class UpscalerScuNET(SpandrelUpscaler):
    name = "ScuNET"
    model_name = "ScuNET GAN"
    model_url = "https://github.com/cszn/KAIR/releases/download/v1.0/scunet_color_real_gan.pth"
    model_name2 = "ScuNET PSNR"
    model_url2 = "https://github.com/cszn/KAIR/releases/download/v1.0/scunet_color_real_psnr.pth"
    architecture = "SCUNet"
    device_task = "scunet"

    def __init__(self, dirname: str | None = None):
        self.user_path = dirname
        super().__init__()
        self.add_found_models([".pth", ".safetensors"])
        if self.model_name2 not in [data.name for data in self.scalers]:
            self.scalers.append(UpscalerData(self.model_name2, self.model_url2, self))

    def apply(self, model: Any, img: Image.Image) -> Image.Image:
        return upscale_2(
            img,
            model,
            tile_size=opts.SCUNET_tile,
            tile_overlap=opts.SCUNET_tile_overlap,
            scale=model.scale,
            desc="ScuNET",
        )
