"""engine: the HAT upscaler. It has no download: files are put into its folder by hand."""

from __future__ import annotations

from modules.upscaler_utils import SpandrelUpscaler


class UpscalerHAT(SpandrelUpscaler):
    """The model files of the folder HAT, in tiles as the ESRGAN settings say."""

    name = "HAT"
    architecture = "HAT"

    def __init__(self, dirname: str | None = None):
        self.user_path = dirname
        super().__init__()
        self.add_found_models([".pt", ".pth", ".safetensors"])
