"""engine: the DAT upscaler: the files of its folder, and three models that can be downloaded."""

from __future__ import annotations

from modules import shared_items
from modules.shared import cmd_opts, opts
from modules.upscaler import Upscaler, UpscalerData, UpscalerSettings
from modules.upscaler_utils import SpandrelUpscaler

BASE_URL = "https://huggingface.co/w-e-w/DAT/resolve/main/experiments/pretrained_models/DAT"
DOWNLOADABLE = {f"DAT x{scale}": (f"{BASE_URL}/DAT_x{scale}.pth", scale) for scale in (2, 3, 4)}


class UpscalerDAT(SpandrelUpscaler):
    """The model files of the folder DAT, and the downloadable ones that the settings enable."""

    name = "DAT"
    architecture = "DAT"
    tile_settings = "DAT"

    def __init__(self, user_path: str | None = None):
        self.user_path = user_path
        super().__init__()
        self.add_found_models([".pt", ".pth", ".safetensors"], scale=None)
        enabled = UpscalerSettings.from_opts(opts).dat_enabled_models
        found = {data.name for data in self.scalers}
        for data in get_dat_models(self):
            if data.name in enabled and data.name not in found:
                self.scalers.append(data)

    def prefers_half(self) -> bool:
        """Returns whether the flags allow float16."""
        return not cmd_opts.no_half and not cmd_opts.upcast_sampling


def get_dat_models(scaler: Upscaler | None) -> list[UpscalerData]:
    """Returns an entry for each model that can be downloaded."""
    return [UpscalerData(name, url, scaler, scale) for name, (url, scale) in DOWNLOADABLE.items()]


shared_items.register("dat_models", lambda: list(DOWNLOADABLE))
