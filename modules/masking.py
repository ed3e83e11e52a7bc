"""pure: what inpainting does with masks: the region to work on, and what fills the masked part before sampling."""

from __future__ import annotations

from PIL import Image, ImageFilter, ImageOps

CropRegion = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, far edges exclusive

# (Gaussian radius, how often the blurred layer is laid over the canvas): wide and faint first, sharp last.
FILL_LAYERS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))


def get_crop_region_v2(mask: Image.Image, pad: int = 0) -> CropRegion | None:
    """Returns the box around the non-black pixels of a mask, grown by pad and clipped; None for an all-black mask."""
    box = mask.getbbox()
    if box is None:
        return None
    x1, y1, x2, y2 = box
    return max(x1 - pad, 0), max(y1 - pad, 0), min(x2 + pad, mask.width), min(y2 + pad, mask.height)


def get_crop_region(mask: Image.Image, pad: int = 0) -> CropRegion:
    """Returns the region of `get_crop_region_v2`; an all-black mask gives the box (width, height, 0, 0) grown by pad.

    mask may be an array of pixels, as extensions pass it.
    """
    image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    region = get_crop_region_v2(image, pad)
    if region is not None:
        return region
    return max(image.width - pad, 0), max(image.height - pad, 0), min(pad, image.width), min(pad, image.height)


def expand_crop_region(
    crop_region: CropRegion, processing_width: int, processing_height: int, image_width: int, image_height: int
) -> CropRegion:
    """Returns a region, its short side widened to the aspect ratio it is processed at, as far as the image allows."""
    x1, y1, x2, y2 = crop_region
    width, height = x2 - x1, y2 - y1
    if width / height > processing_width / processing_height:
        y1, y2 = _widen(y1, y2, int(width / (processing_width / processing_height) - height), image_height)
    else:
        x1, x2 = _widen(x1, x2, int(height * (processing_width / processing_height) - width), image_width)
    return x1, y1, x2, y2


def _widen(low: int, high: int, amount: int, limit: int) -> tuple[int, int]:
    """Returns the span low..high made longer by amount, moved back inside 0..limit and cut to it."""
    low -= amount // 2
    high += amount - amount // 2
    if high >= limit:
        low -= high - limit
        high = limit
    if low < 0:
        high -= low
        low = 0
    return low, min(high, limit)


def fill(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Returns image with its masked part painted over by the blurred colours around it, RGB."""
    surroundings = Image.new("RGBa", (image.width, image.height))
    surroundings.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))

    canvas = Image.new("RGBA", (image.width, image.height))
    for radius, repeats in FILL_LAYERS:
        layer = surroundings.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            canvas.alpha_composite(layer)
    return canvas.convert("RGB")
