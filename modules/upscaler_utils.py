"""engine: images through upscaler networks, whole or in overlapping tiles.

Networks take and give BGR tensors (B, 3, H, W) in 0..1.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from modules import bounds, devices, errors, image_ops, shared, upscaler_files
from modules.image_ops import Grid
from modules.upscaler import Upscaler, UpscalerData, UpscalerSettings

Model = Callable[[torch.Tensor], torch.Tensor]


class SpandrelUpscaler(Upscaler):
    """An upscaler whose models are files that spandrel reads.

    architecture: what they are expected to be. device_task: which device flag counts. tile_settings: the settings
    <tile_settings>_tile and _tile_overlap say how an image is cut. averages_overlaps: its tiles are averaged where they
    overlap, instead of fading into each other. A model that cannot be loaded leaves it as it is.
    """

    architecture: ClassVar[str | None] = None
    device_task: ClassVar[str] = "esrgan"
    tile_settings: ClassVar[str] = "ESRGAN"
    averages_overlaps: ClassVar[bool] = False

    def prefers_half(self) -> bool:
        """Returns whether float16 is used where the architecture works with it."""
        return False

    def load_model(self, path: str) -> Any:
        """Returns the network of the file or URL path; a URL is downloaded once."""
        return upscaler_files.load_spandrel_model(
            self.local_file(path),
            device=devices.get_device_for(self.device_task),
            prefer_half=self.prefers_half(),
            expected_architecture=self.architecture,
        )

    def local_file(self, path: str) -> str:
        """Returns path, downloaded under the name of its entry if it is a URL, so that the entry keeps its name."""
        if not path.startswith("http"):
            return path
        name = next((data.name for data in self.scalers if data.data_path == path), upscaler_files.friendly_name(path))
        extension = os.path.splitext(path)[1]
        return upscaler_files.load_file_from_url(
            path, model_dir=self.model_download_path or self.model_path, file_name=f"{name}{extension}"
        )

    def apply(self, model: Any, img: Image.Image) -> Image.Image:
        """Returns img as the network enlarges it, in tiles."""
        tiles = UpscalerSettings.from_opts(shared.opts).tiles(self.tile_settings)
        if self.averages_overlaps:
            return upscale_2(
                img, model, tile_size=tiles.size, tile_overlap=tiles.overlap, scale=model.scale, desc=self.name
            )
        return upscale_with_model(model, img, tile_size=tiles.size, tile_overlap=tiles.overlap)

    def do_upscale(self, img: Image.Image, selected_model: str) -> Image.Image:
        """Returns img enlarged once by a model, or itself, with a report, if the model cannot be loaded."""
        try:
            model = self.load_model(selected_model)
        except errors.WebuiError:
            errors.report(f"Unable to load {self.name} model {selected_model}", exc_info=True)
            return img
        bounds.current().check_pixels(img.width * img.height * model.scale**2, "scale")
        upscaled = self.apply(model, img)
        devices.torch_gc()
        return upscaled

    def add_found_models(self, ext_filter: list[str], scale: int | None = 4) -> None:
        """Fills `scalers` with the model files; without one the downloadable model is listed under `model_name`."""
        for path in self.find_models(ext_filter=ext_filter):
            name = self.model_name if path.startswith("http") else upscaler_files.friendly_name(path)
            self.scalers.append(UpscalerData(name, path, self, scale))


def parameter_of(model: Any) -> torch.Tensor:
    """Returns a weight of a network or model descriptor, which tells its device and dtype."""
    return next(getattr(model, "model", model).parameters())


def pil_image_to_torch_bgr(img: Image.Image) -> torch.Tensor:
    """Returns an image as a BGR tensor (3, H, W) in 0..1, float64."""
    pixels = np.array(img.convert("RGB"))[:, :, ::-1]
    return torch.from_numpy(np.ascontiguousarray(np.transpose(pixels, (2, 0, 1))) / 255)


def torch_bgr_to_pil_image(tensor: torch.Tensor) -> Image.Image:
    """Returns a BGR tensor (3, H, W) or (1, 3, H, W) in 0..1 as an RGB image; values outside are clipped."""
    if tensor.ndim == 4:
        if tensor.shape[0] != 1:
            raise ValueError(f"{tensor.shape} does not describe a BCHW tensor of one image")
        tensor = tensor.squeeze(0)
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise ValueError(f"{tensor.shape} does not describe a CHW tensor of three channels")
    pixels = np.moveaxis(tensor.float().cpu().clamp(0, 1).numpy(), 0, 2)
    return Image.fromarray((255.0 * pixels).round().astype(np.uint8)[:, :, ::-1])


def upscale_pil_patch(model: Any, img: Image.Image) -> Image.Image:
    """Returns img as the network enlarges it, in one piece."""
    weight = parameter_of(model)
    with torch.inference_mode():
        tensor = pil_image_to_torch_bgr(img).unsqueeze(0).to(device=weight.device, dtype=weight.dtype)
        return torch_bgr_to_pil_image(model(tensor))


def progress_bar(desc: str, iterable: Iterable[Any] | None = None, total: int | None = None) -> tqdm:
    """Returns a progress bar over the tiles of an image; it shows nothing if the settings say so."""
    is_shown = UpscalerSettings.from_opts(shared.opts).enable_upscale_progressbar
    return tqdm(iterable, desc=desc, total=total, disable=not is_shown)


def upscale_with_model(
    model: Any,
    img: Image.Image,
    *,
    tile_size: int,
    tile_overlap: int = 0,
    desc: str = "tiled upscale",
) -> Image.Image:
    """Returns img as the network enlarges it, in tiles that fade into each other; an interrupt returns img itself.

    tile_size, tile_overlap: pixels of img; tile_size 0 takes it whole. desc: title of the progress bar.
    """
    if tile_size <= 0:
        return upscale_pil_patch(model, img)

    grid = image_ops.split_grid(img, tile_size, tile_size, tile_overlap)
    factor = 1
    rows = []
    tile_count = sum(len(row) for _, _, row in grid.tiles)
    with progress_bar(desc, total=tile_count) as progress:
        for y, height, row in grid.tiles:
            tiles = []
            for x, width, tile in row:
                if shared.state.interrupted:
                    return img
                enlarged = upscale_pil_patch(model, tile)
                factor = enlarged.width // tile.width
                tiles.append([x * factor, width * factor, enlarged])
                progress.update(1)
            rows.append([y * factor, height * factor, tiles])

    return image_ops.combine_grid(
        Grid(
            rows,
            tile_w=grid.tile_w * factor,
            tile_h=grid.tile_h * factor,
            image_w=grid.image_w * factor,
            image_h=grid.image_h * factor,
            overlap=grid.overlap * factor,
        )
    )


def tiled_upscale_2(
    img: torch.Tensor,
    model: Model,
    *,
    tile_size: int,
    tile_overlap: int,
    scale: int,
    device: torch.device,
    desc: str = "Tiled upscale",
) -> torch.Tensor | None:
    """Returns img (1, 3, H, W) enlarged by scale in tiles whose overlaps are averaged; None after an interrupt.

    tile_size 0 takes the image whole.
    """
    _, channels, height, width = img.shape
    tile_height, tile_width = (height, width) if tile_size == 0 else [min(tile_size, height, width)] * 2
    starts = list(
        itertools.product(_starts(height, tile_height, tile_overlap), _starts(width, tile_width, tile_overlap))
    )
    total = torch.zeros((1, channels, height * scale, width * scale), dtype=img.dtype, device=device)
    covered = torch.zeros_like(total)
    for y, x in progress_bar(desc, starts):
        if shared.state.interrupted or shared.state.skipped:
            return None
        part = model(img[..., y : y + tile_height, x : x + tile_width].to(device))
        region = (..., slice(y * scale, (y + tile_height) * scale), slice(x * scale, (x + tile_width) * scale))
        total[region] += part
        covered[region] += 1
    return total / covered


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    step = max(tile - overlap, 1)
    return [*range(0, length - tile, step), length - tile]


def upscale_2(
    img: Image.Image,
    model: Any,
    *,
    tile_size: int,
    tile_overlap: int,
    scale: int,
    desc: str,
) -> Image.Image:
    """Returns img enlarged by scale, in tiles whose overlaps are averaged; an interrupt returns img itself."""
    weight = parameter_of(model)
    with torch.inference_mode():
        enlarged = tiled_upscale_2(
            pil_image_to_torch_bgr(img).unsqueeze(0).to(dtype=weight.dtype),
            model,
            tile_size=tile_size,
            tile_overlap=tile_overlap,
            scale=scale,
            device=weight.device,
            desc=desc,
        )
    return img if enlarged is None else torch_bgr_to_pil_image(enlarged)
