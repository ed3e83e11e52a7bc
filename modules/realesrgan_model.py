"""engine: the Real-ESRGAN upscaler: its authors' models, those that the settings enable."""

from __future__ import annotations

from modules import shared_items, upscaler_files
from modules.shared import cmd_opts, opts
from modules.upscaler import Upscaler, UpscalerData, UpscalerSettings
from modules.upscaler_utils import SpandrelUpscaler

BASE_URL = "https://github.com/xinntao/Real-ESRGAN/releases/download"

# Name -> (URL, factor)
DOWNLOADABLE = {
    "R-ESRGAN General 4xV3": (f"{BASE_URL}/v0.2.5.0/realesr-general-x4v3.pth", 4),
    "R-ESRGAN General WDN 4xV3": (f"{BASE_URL}/v0.2.5.0/realesr-general-wdn-x4v3.pth", 4),
    "R-ESRGAN AnimeVideo": (f"{BASE_URL}/v0.2.5.0/realesr-animevideov3.pth", 4),
    "R-ESRGAN 4x+": (f"{BASE_URL}/v0.1.0/RealESRGAN_x4plus.pth", 4),
    "R-ESRGAN 4x+ Anime6B": (f"{BASE_URL}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth", 4),
    "R-ESRGAN 2x+": (f"{BASE_URL}/v0.2.1/RealESRGAN_x2plus.pth", 2),
}


class UpscalerRealESRGAN(SpandrelUpscaler):
    """The models of the authors, in tiles as the ESRGAN settings say."""

    name = "RealESRGAN"

    def __init__(self, path: str | None = None):
        self.user_path = path
        super().__init__()
        enabled = UpscalerSettings.from_opts(opts).realesrgan_enabled_models
        local = {upscaler_files.friendly_name(file): file for file in self.find_models(ext_filter=[".pth"])}
        for data in get_realesrgan_models(self):
            data.local_data_path = local.get(upscaler_files.friendly_name(data.data_path), data.data_path)
            if data.name in enabled:
                self.scalers.append(data)

    def local_file(self, path: str) -> str:
        """Returns the model file of the entry path; a missing one is downloaded under its authors' name."""
        local = next((data.local_data_path for data in self.scalers if data.data_path == path), path)
        if not local.startswith("http"):
            return local
        return upscaler_files.load_file_from_url(local, model_dir=self.model_download_path or self.model_path)

    def prefers_half(self) -> bool:
        """Returns whether the flags allow float16."""
        return not cmd_opts.no_half and not cmd_opts.upcast_sampling


def get_realesrgan_models(scaler: Upscaler | None) -> list[UpscalerData]:
    """Returns an entry for each model of the authors, enabled or not."""
    return [UpscalerData(name, url, scaler, scale) for name, (url, scale) in DOWNLOADABLE.items()]


shared_items.register("realesrgan_models", lambda: list(DOWNLOADABLE))
