"""engine: the ScuNET "upscaler": it removes noise, and the image is then resized."""

from __future__ import annotations

from modules.upscaler import UpscalerData
from modules.upscaler_utils import SpandrelUpscaler


class UpscalerScuNET(SpandrelUpscaler):
    """The model files of the folder ScuNET, and two that can be downloaded."""

    name = "ScuNET"
    model_name = "ScuNET GAN"
    model_url = "https://github.com/cszn/KAIR/releases/download/v1.0/scunet_color_real_gan.pth"
    model_name2 = "ScuNET PSNR"
    model_url2 = "https://github.com/cszn/KAIR/releases/download/v1.0/scunet_color_real_psnr.pth"
    architecture = "SCUNet"
    device_task = "scunet"
    tile_settings = "SCUNET"
    averages_overlaps = True

    def __init__(self, dirname: str | None = None):
        self.user_path = dirname
        super().__init__()
        self.add_found_models([".pth", ".safetensors"])
        if self.model_name2 not in [data.name for data in self.scalers]:
            self.scalers.append(UpscalerData(self.model_name2, self.model_url2, self))
