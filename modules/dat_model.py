"""engine: the DAT upscaler: the files of its folder, and three models that can be downloaded."""

from __future__ import annotations

from typing import Any

from PIL import Image

from modules import shared_items
from modules.shared import cmd_opts, opts
from modules.upscaler import Upscaler, UpscalerData
from modules.upscaler_utils import SpandrelUpscaler, upscale_with_model

BASE_URL = "https://huggingface.co/w-e-w/DAT/resolve/main/experiments/pretrained_models/DAT"
DOWNLOADABLE = {f"DAT x{scale}": (f"{BASE_URL}/DAT_x{scale}.pth", scale) for scale in (2, 3, 4)}


class UpscalerDAT(SpandrelUpscaler):
    name = "DAT"
    architecture = "DAT"

    def __init__(self, user_path: str | None = None):
        self.user_path = user_path
        super().__init__()
        self.add_found_models([".pt", ".pth", ".safetensors"], scale=None)
        found = {data.name for data in self.scalers}
        for data in get_dat_models(self):
            if data.name in opts.dat_enabled_models and data.name not in found:
                self.scalers.append(data)

    def prefers_half(self) -> bool:
        return not cmd_opts.no_half and not cmd_opts.upcast_sampling

    def apply(self, model: Any, img: Image.Image) -> Image.Image:
        return upscale_with_model(model, img, tile_size=opts.DAT_tile, tile_overlap=opts.DAT_tile_overlap)


def get_dat_models(scaler: Upscaler | None) -> list[UpscalerData]:
    """Return an entry for each model that can be downloaded."""
    return [UpscalerData(name, url, scaler, scale) for name, (url, scale) in DOWNLOADABLE.items()]


shared_items.register("dat_models", lambda: list(DOWNLOADABLE))
