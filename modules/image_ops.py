"""pure: image operations that need nothing but their arguments: resizing, grids, tiles, overlays and colour matching.

Images are PIL images. What depends on a setting is a parameter; `images` reads the settings and calls these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps

from modules.errors import InvalidInput

LANCZOS = Image.Resampling.LANCZOS

Resize = Callable[[Image.Image, int, int], Image.Image]
PasteLocation = tuple[int, int, int, int]  # x, y, width, height in pixels

UINT16_WHITE = 65535.0
WHITES = {"I": (255.0, UINT16_WHITE), "F": (1.0, 255.0, UINT16_WHITE)}
"""Mode of grey images -> the values that may stand for white."""

PLAIN_MODES = {"1": "L", "LA": "RGBA", "La": "RGBA", "PA": "RGBA", "RGBa": "RGBA"}
"""Mode -> the one that `plain_mode` turns it into; all others become RGB."""

LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114])


class Grid(NamedTuple):
    """An image cut into overlapping tiles.

    tiles: rows [y, tile height, [[x, tile width, tile], ...]], top to bottom and left to right. Sizes in pixels.
    """

    tiles: list
    tile_w: int
    tile_h: int
    image_w: int
    image_h: int
    overlap: int


def resize_lanczos(image: Image.Image, width: int, height: int) -> Image.Image:
    """Returns an image at a size, by Lanczos interpolation."""
    return image.resize((width, height), resample=LANCZOS)


def resize_image(
    resize_mode: int, image: Image.Image, width: int, height: int, resize: Resize = resize_lanczos
) -> Image.Image:
    """Returns an image at width x height.

    resize_mode: 0 stretches; 1 covers the target and cuts what sticks out; 2 fits into the target and fills the empty
    bands with the colours at the edge. 1 and 2 give RGB. resize does the scaling itself.
    """
    if resize_mode == 0:
        return resize(image, width, height)
    if resize_mode == 1:
        return _cover(image, width, height, resize)
    return _contain(image, width, height, resize)


def _scaled_sides(image: Image.Image, width: int, height: int) -> tuple[int, int]:
    """Returns the width that goes with the target height, and the height that goes with the target width."""
    return max(image.width * height // image.height, 1), max(image.height * width // image.width, 1)


def _cover(image: Image.Image, width: int, height: int, resize: Resize) -> Image.Image:
    matching_width, matching_height = _scaled_sides(image, width, height)
    target_is_wider = width / height > image.width / image.height
    scaled = resize(
        image, width if target_is_wider else matching_width, height if not target_is_wider else matching_height
    )
    canvas = Image.new("RGB", (width, height))
    canvas.paste(scaled, box=(width // 2 - scaled.width // 2, height // 2 - scaled.height // 2))
    return canvas


def _contain(image: Image.Image, width: int, height: int, resize: Resize) -> Image.Image:
    matching_width, matching_height = _scaled_sides(image, width, height)
    ratio, image_ratio = width / height, image.width / image.height
    scaled_width = width if ratio < image_ratio else matching_width
    scaled_height = height if ratio >= image_ratio else matching_height
    scaled = resize(image, scaled_width, scaled_height)

    canvas = Image.new("RGB", (width, height))
    left, top = width // 2 - scaled_width // 2, height // 2 - scaled_height // 2
    canvas.paste(scaled, box=(left, top))
    if ratio < image_ratio and top > 0:
        canvas.paste(scaled.resize((width, top), box=(0, 0, width, 0)), box=(0, 0))
        canvas.paste(
            scaled.resize((width, top), box=(0, scaled_height, width, scaled_height)), box=(0, top + scaled_height)
        )
    elif ratio > image_ratio and left > 0:
        canvas.paste(scaled.resize((left, height), box=(0, 0, 0, height)), box=(0, 0))
        canvas.paste(
            scaled.resize((left, height), box=(scaled_width, 0, scaled_width, height)), box=(left + scaled_width, 0)
        )
    return canvas


def flatten(image: Image.Image, background: str) -> Image.Image:
    """Returns image as RGB; transparent parts show the background colour."""
    image = plain_mode(image)
    if image.mode == "RGBA":
        canvas = Image.new("RGBA", image.size, background)
        canvas.paste(image, mask=image)
        image = canvas
    return image.convert("RGB")


def fix_png_transparency(image: Image.Image) -> Image.Image:
    """Turns the transparent colour or palette alpha of a PNG or GIF into an alpha channel."""
    if image.mode not in ("1", "L", "RGB", "P") or image.info.get("transparency") is None:
        return image
    return image.convert("RGBA")


def plain_mode(image: Image.Image) -> Image.Image:
    """Returns an image in a mode that everything here works with: L, RGB, RGBA, or P without transparency.

    16-bit and floating point values become grey levels of 8 bits, where Pillow would cut them off at 255. What
    `Image.info` says stays, but for the transparent colour.
    """
    image = fix_png_transparency(image)
    if image.mode in ("L", "P", "RGB", "RGBA"):
        return image
    if image.mode.startswith("I") or image.mode == "F":
        plain = grey_levels(image)
    elif image.mode == "LAB":
        plain = from_lab(image)
    else:
        plain = image.convert("LA") if image.mode == "La" else image
        plain = plain.convert(PLAIN_MODES.get(image.mode, "RGB"))
    plain.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return plain


def grey_levels(image: Image.Image) -> Image.Image:
    """Returns a grey image of more than 8 bits, mode L; white is the smallest usual maximum that all values are below.

    That is 65535 in 16-bit modes.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=np.inf)
    is_short = image.mode.startswith("I;16")
    largest = values[np.isfinite(values)].max(initial=0.0)
    white = UINT16_WHITE if is_short else next((limit for limit in WHITES[image.mode] if largest <= limit), largest)
    return Image.fromarray(np.around(np.clip(values / white, 0, 1) * 255).astype(np.uint8))


def from_lab(image: Image.Image) -> Image.Image:
    """Returns an image of mode LAB as RGB."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")


def grid_shape(
    count: int, batch_size: int, rows: float | None = None, *, n_rows: int = -1, prevent_empty_spots: bool = False
) -> tuple[int, int]:
    """Returns (rows, columns) of a grid of count images.

    rows decides if given, else n_rows (> 0), else batch_size (n_rows 0), else the grid comes near a square (n_rows
    < 0); prevent_empty_spots makes that last choice a divisor of count.
    """
    if rows is None:
        if n_rows > 0:
            rows = n_rows
        elif n_rows == 0:
            rows = batch_size
        elif prevent_empty_spots:
            rows = next(n for n in range(math.isqrt(count), 0, -1) if count % n == 0)
        else:
            rows = round(math.sqrt(count))
    rows = max(min(rows, count), 1)
    return int(rows), math.ceil(count / rows)


def compose_grid(images: Sequence[Image.Image], rows: int, columns: int, background: str) -> Image.Image:
    """Lays images out row by row, each centred in a cell as large as the largest of them, RGB."""
    width = max(image.width for image in images)
    height = max(image.height for image in images)
    grid = Image.new("RGB", (columns * width, rows * height), background)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        x = column * width + (width - image.width) // 2
        y = row * height + (height - image.height) // 2
        grid.paste(image, box=(x, y))
    return grid


def _count_tiles(length: int, tile: int, overlap: int) -> int:
    if not 0 <= overlap < tile:
        raise InvalidInput(f"tiles of {tile} pixels cannot overlap by {overlap}; choose 0 to {tile - 1}", "overlap")
    return max(math.ceil((length - overlap) / (tile - overlap)), 1)


def count_tiles(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> int:
    """Returns how many tiles `split_grid` makes of an image of this size. Raises InvalidInput as it does."""
    return _count_tiles(size[0], tile[0], overlap) * _count_tiles(size[1], tile[1], overlap)


def _tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    count = _count_tiles(length, tile, overlap)
    step = (length - tile) / (count - 1) if count > 1 else 0
    starts = [int(index * step) for index in range(count)]
    return [length - tile if start + tile >= length else start for start in starts]


def split_grid(image: Image.Image, tile_w: int = 512, tile_h: int = 512, overlap: int = 64) -> Grid:
    """Cuts image into tiles that overlap by at least overlap pixels; the last ones are aligned to the far edges.

    Raises InvalidInput if the overlap is negative, or not smaller than a tile.
    """
    grid = Grid([], tile_w, tile_h, image.width, image.height, overlap)
    columns = _tile_starts(image.width, tile_w, overlap)
    for y in _tile_starts(image.height, tile_h, overlap):
        row = [[x, tile_w, image.crop((x, y, x + tile_w, y + tile_h))] for x in columns]
        grid.tiles.append([y, tile_h, row])
    return grid


def _blend_ramp(overlap: int, length: int) -> Image.Image:
    """Returns a mask (overlap wide, length high, mode L) that rises from 0 towards 255 along its width."""
    ramp = np.array([index * 255 / overlap for index in range(overlap)], dtype=np.float32).astype(np.uint8)
    return Image.fromarray(ramp[None].repeat(length, axis=0))


def combine_grid(grid: Grid) -> Image.Image:
    """Puts the tiles of a grid together, RGB; a tile fades in over its first overlap pixels."""
    overlap = grid.overlap
    ramp_x = _blend_ramp(overlap, grid.tile_h) if overlap else None
    ramp_y = _blend_ramp(overlap, grid.image_w).transpose(Image.Transpose.TRANSPOSE) if overlap else None

    combined = Image.new("RGB", (grid.image_w, grid.image_h))
    for y, height, tiles in grid.tiles:
        row = Image.new("RGB", (grid.image_w, height))
        for x, width, tile in tiles:
            if x == 0:
                row.paste(tile, (0, 0))
                continue
            if ramp_x is not None:
                row.paste(tile.crop((0, 0, overlap, height)), (x, 0), mask=ramp_x)
            row.paste(tile.crop((overlap, 0, width, height)), (x + overlap, 0))
        if y == 0:
            combined.paste(row, (0, 0))
            continue
        if ramp_y is not None:
            combined.paste(row.crop((0, 0, row.width, overlap)), (0, y), mask=ramp_y)
        combined.paste(row.crop((0, overlap, row.width, height)), (0, y + overlap))
    return combined


def create_binary_mask(image: Image.Image, round: bool = True) -> Image.Image:
    """Returns an inpainting mask, mode L: the alpha channel of an image with transparency, else its grey values.

    round: an alpha mask becomes black and white, split above 128.
    """
    if image.mode == "RGBA" and image.getextrema()[-1] != (255, 255):
        alpha = image.split()[-1].convert("L")
        return alpha.point(lambda value: 255 if value > 128 else 0) if round else alpha
    return image.convert("L")


def uncrop(
    image: Image.Image, dest_size: tuple[int, int], paste_loc: PasteLocation, resize: Resize = resize_lanczos
) -> Image.Image:
    """Puts image, scaled to cover the box paste_loc, on a transparent canvas of dest_size, RGBA."""
    x, y, width, height = paste_loc
    canvas = Image.new("RGBA", dest_size)
    canvas.paste(resize_image(1, image, width, height, resize), (x, y))
    return canvas


def apply_overlay(
    image: Image.Image,
    paste_loc: PasteLocation | None,
    overlay: Image.Image | None,
    resize: Resize = resize_lanczos,
) -> tuple[Image.Image, Image.Image]:
    """Lays the unmasked part of the source (overlay, with alpha) over a result.

    paste_loc: where the result belongs in the overlay, if only that part was worked on.
    Returns the finished image (RGB; image itself without an overlay), and the result before the overlay.
    """
    if overlay is None:
        return image, image.copy()
    if paste_loc is not None:
        image = uncrop(image, (overlay.width, overlay.height), paste_loc, resize)
    original_denoised_image = image.copy()
    image = image.convert("RGBA")
    image.alpha_composite(overlay)
    return image.convert("RGB"), original_denoised_image


def setup_color_correction(image: Image.Image) -> np.ndarray:
    """Returns the 8-bit LAB pixels (H, W, 3) whose colours `apply_color_correction` gives to another image."""
    import cv2

    return cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2LAB)


def apply_color_correction(correction: np.ndarray, original_image: Image.Image) -> Image.Image:
    """Returns original_image with the colours that `setup_color_correction` noted and its own luminosity, RGB."""
    import cv2

    original = np.asarray(original_image.convert("RGB"))
    matched = match_histograms(cv2.cvtColor(original, cv2.COLOR_RGB2LAB), correction)
    return Image.fromarray(blend_luminosity(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB), original))


def match_histograms(pixels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Maps each channel of pixels (H, W, C, uint8) so that its distribution becomes that of target's channel."""
    matched = np.empty_like(pixels)
    for channel in range(pixels.shape[-1]):
        counts = np.bincount(pixels[..., channel].ravel(), minlength=256)
        target_counts = np.bincount(target[..., channel].ravel(), minlength=256)
        target_values = np.nonzero(target_counts)[0]
        quantiles = np.cumsum(counts) / pixels[..., channel].size
        target_quantiles = np.cumsum(target_counts[target_values]) / target[..., channel].size
        lookup = np.interp(quantiles, target_quantiles, target_values)
        matched[..., channel] = lookup[pixels[..., channel]].astype(np.uint8)
    return matched


def blend_luminosity(background: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Returns the colours of background with the luminosity of foreground; (H, W, 3), uint8.

    The "luminosity" mode of the W3C compositing specification (https://www.w3.org/TR/compositing-1/#blendingluminosity).
    """
    lower = background / 255.0
    upper = foreground / 255.0
    color = lower + ((upper - lower) @ LUMA_WEIGHTS)[..., None]

    luma = (color @ LUMA_WEIGHTS)[..., None]
    smallest = color.min(axis=-1, keepdims=True)
    largest = color.max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        color = np.where(smallest < 0.0, luma + (color - luma) * luma / (luma - smallest), color)
        color = np.where(largest > 1.0, luma + (color - luma) * (1.0 - luma) / (largest - luma), color)
    return (np.clip(color, 0.0, 1.0) * 255.0).astype(np.uint8)


def fix_image(image: Image.Image) -> Image.Image:
    """Returns an opened image as it is meant to be seen: turned by its EXIF orientation, in a mode of `plain_mode`."""
    return plain_mode(ImageOps.exif_transpose(image))
