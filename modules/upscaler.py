"""engine: what an upscaler is, and the three that need no model: None, Lanczos, Nearest.

An extension adds one by subclassing `Upscaler`; `modelloader.load_upscalers` finds all subclasses.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image

from modules import bounds, devices, shared, upscaler_files
from modules.options import OptionValues

LANCZOS = Image.Resampling.LANCZOS
NEAREST = Image.Resampling.NEAREST

MAX_PASSES = 3


class Tiles(NamedTuple):
    """Tiles that a network takes one after the other, in pixels of the source. size 0: the whole image at once."""

    size: int
    overlap: int


@dataclass(frozen=True)
class UpscalerSettings(OptionValues):
    """What upscalers take from the settings. The names are those of the options."""

    DAT_tile: int
    DAT_tile_overlap: int
    ESRGAN_tile: int
    ESRGAN_tile_overlap: int
    SCUNET_tile: int
    SCUNET_tile_overlap: int
    SWIN_tile: int
    SWIN_tile_overlap: int
    SWIN_torch_compile: bool
    dat_enabled_models: tuple[str, ...]
    enable_upscale_progressbar: bool
    realesrgan_enabled_models: tuple[str, ...]
    upscaler_for_img2img: str | None

    def tiles(self, prefix: str) -> Tiles:
        """Returns the tiles of the settings <prefix>_tile and <prefix>_tile_overlap."""
        return Tiles(getattr(self, f"{prefix}_tile"), getattr(self, f"{prefix}_tile_overlap"))


class Upscaler:
    """A way to enlarge images, with one entry in `scalers` per model it offers.

    name: also the folder of its models. model_path: that folder. user_path: another folder given on the command line.
    model_download_path: where downloads go. scale: factor of the call being served.
    """

    name: str | None = None
    model_path: str | None = None
    model_name: str | None = None
    model_url: str | None = None
    enable: bool = True
    filter: Any = None
    model: Any = None
    user_path: str | None = None
    scalers: list[UpscalerData]
    tile: bool = True

    def __init__(self, create_dirs: bool = False):
        self.device = devices.device_esrgan
        self.tile_size, self.tile_pad = UpscalerSettings.from_opts(shared.opts).tiles("ESRGAN")
        self.half = not shared.cmd_opts.no_half
        self.scale: float = 1
        self.img: Image.Image | None = None
        self.output: Any = None
        self.pre_pad = 0
        self.mod_pad_h: int | None = None
        self.mod_scale: float | None = None
        self.can_tile = True
        self.model_download_path: str | None = None

        if not hasattr(self, "scalers"):
            self.scalers = []
        if self.model_path is None and self.name:
            self.model_path = os.path.join(shared.models_path, self.name)
        if self.model_path and create_dirs:
            os.makedirs(self.model_path, exist_ok=True)

    @abstractmethod
    def do_upscale(self, img: Image.Image, selected_model: str | None) -> Image.Image:
        """Returns img enlarged once, by the model's own factor."""
        return img

    def upscale(self, img: Image.Image, scale: float, selected_model: str | None = None) -> Image.Image:
        """Returns img enlarged by scale, its sides rounded down to multiples of 8.

        Raises InvalidInput, before memory is taken, for a size beyond all bounds.

        selected_model: `data_path` of an entry of `scalers`. Models that enlarge less are applied repeatedly, ones that
        enlarge more are scaled down. After an interrupt the rest of the way is plain resizing.
        """
        bounds.current().check_pixels(img.width * img.height * scale**2, "scale")
        self.scale = scale
        width = max(int((img.width * scale) // 8 * 8), 8)
        height = max(int((img.height * scale) // 8 * 8), 8)

        for attempt in range(MAX_PASSES):
            is_large_enough = img.width >= width and img.height >= height
            if is_large_enough and (attempt > 0 or scale != 1):
                break
            if shared.state.interrupted:
                break
            size = img.size
            img = self.do_upscale(img, selected_model)
            if img.size == size:
                break

        return img if img.size == (width, height) else img.resize((width, height), resample=LANCZOS)

    @abstractmethod
    def load_model(self, path: str) -> Any:
        """Returns the model at path, ready for do_upscale."""

    def find_models(self, ext_filter: list[str] | None = None) -> list[str]:
        """Returns the model files of this upscaler, or `model_url` if there are none."""
        return upscaler_files.load_models(
            model_path=self.model_path,
            model_url=self.model_url,
            command_path=self.user_path,
            ext_filter=ext_filter,
        )


class UpscalerData:
    """One entry of the list of upscalers.

    data_path: file or URL of the model, the argument of `scaler.upscale`. scale: the model's factor, None if unknown.
    """

    name: str
    data_path: str | None
    scale: int | None = 4
    scaler: Upscaler
    model: Any = None

    def __init__(
        self,
        name: str,
        path: str | None,
        upscaler: Upscaler | None = None,
        scale: int | None = 4,
        model: Any = None,
    ):
        self.name = name
        self.data_path = path
        self.local_data_path = path
        self.scaler = upscaler
        self.scale = scale
        self.model = model

    def __repr__(self) -> str:
        return f"<UpscalerData name={self.name} path={self.data_path} scale={self.scale}>"


class UpscalerNone(Upscaler):
    """An upscaler that leaves the image as it is."""

    name = "None"

    def __init__(self, dirname: str | None = None):
        super().__init__()
        self.scalers = [UpscalerData("None", None, self)]

    def load_model(self, path: str) -> None:
        """Does nothing: there is no model."""

    def do_upscale(self, img: Image.Image, selected_model: str | None = None) -> Image.Image:
        """Returns img itself."""
        return img


class UpscalerResize(Upscaler):
    """An upscaler that interpolates. resample: how."""

    resample: Image.Resampling

    def __init__(self, dirname: str | None = None):
        super().__init__()
        self.scalers = [UpscalerData(self.name, None, self)]

    def load_model(self, path: str) -> None:
        """Does nothing: there is no model."""

    def do_upscale(self, img: Image.Image, selected_model: str | None = None) -> Image.Image:
        """Returns img enlarged by the factor of the call."""
        return img.resize((int(img.width * self.scale), int(img.height * self.scale)), resample=self.resample)


class UpscalerLanczos(UpscalerResize):
    """Smooth interpolation."""

    name = "Lanczos"
    resample = LANCZOS


class UpscalerNearest(UpscalerResize):
    """Each pixel becomes a square."""

    name = "Nearest"
    resample = NEAREST
