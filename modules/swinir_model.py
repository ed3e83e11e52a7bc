"""engine: the SwinIR upscaler. Its last model stays loaded, because loading takes longer than a small picture."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from modules import devices
from modules.shared import opts
from modules.upscaler_utils import SpandrelUpscaler, upscale_2


class UpscalerSwinIR(SpandrelUpscaler):
    name = "SwinIR"
    model_name = "SwinIR 4x"
    model_url = (
        "https://github.com/JingyunLiang/SwinIR/releases/download/v0.0"
        "/003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth"
    )
    architecture = "SwinIR"
    device_task = "swinir"

    def __init__(self, dirname: str | None = None):
        self.user_path = dirname
        super().__init__()
        self.add_found_models([".pt", ".pth", ".safetensors"])
        self._loaded: tuple[str, bool, Any] | None = None

    def prefers_half(self) -> bool:
        return devices.dtype == torch.float16

    def load_model(self, path: str) -> Any:
        is_compiled = opts.SWIN_torch_compile
        if self._loaded is None or self._loaded[:2] != (path, is_compiled):
            model = super().load_model(path)
            if is_compiled:
                model.model.compile()
            self._loaded = (path, is_compiled, model)
        return self._loaded[2]

    def apply(self, model: Any, img: Image.Image) -> Image.Image:
        return upscale_2(
            img,
            model,
            tile_size=opts.SWIN_tile,
            tile_overlap=opts.SWIN_tile_overlap,
            scale=model.scale,
            desc="SwinIR",
        )
