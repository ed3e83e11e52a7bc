"""engine: the SwinIR upscaler. Its last model stays loaded, because loading takes longer than a small image."""

from __future__ import annotations

from typing import Any

import torch

from modules import devices, shared
from modules.upscaler import UpscalerSettings
from modules.upscaler_utils import SpandrelUpscaler


class UpscalerSwinIR(SpandrelUpscaler):
    """The model files of the folder SwinIR, or one that can be downloaded."""

    name = "SwinIR"
    model_name = "SwinIR 4x"
    model_url = (
        "https://github.com/JingyunLiang/SwinIR/releases/download/v0.0"
        "/003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth"
    )
    architecture = "SwinIR"
    device_task = "swinir"
    tile_settings = "SWIN"
    averages_overlaps = True

    def __init__(self, dirname: str | None = None):
        self.user_path = dirname
        super().__init__()
        self.add_found_models([".pt", ".pth", ".safetensors"])
        self._loaded: tuple[str, bool, Any] | None = None

    def prefers_half(self) -> bool:
        """Returns whether the diffusion model runs in float16 too."""
        return devices.dtype == torch.float16

    def load_model(self, path: str) -> Any:
        """Returns the network of a file or URL, compiled if the settings say so; the last one is kept."""
        is_compiled = UpscalerSettings.from_opts(shared.opts).SWIN_torch_compile
        if self._loaded is None or self._loaded[:2] != (path, is_compiled):
            model = super().load_model(path)
            if is_compiled:
                model.model.compile()
            self._loaded = (path, is_compiled, model)
        return self._loaded[2]
