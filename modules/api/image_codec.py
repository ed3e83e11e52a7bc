"""face: images in and out of JSON: base64, data URIs and, where the settings allow it, addresses."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError

from modules import bounds, images, shared
from modules.api import image_fetch, outgoing
from modules.api.image_fetch import RequestNotAllowed
from modules.errors import InvalidInput, WebuiError
from modules.job.plan import ResultImage


def verify_url(url: str) -> bool:
    """Returns whether every address the host resolves to is a public one."""
    try:
        image_fetch.checked_numbers(outgoing.read(url), image_fetch.SECONDS)
    except WebuiError:
        return False
    return True


def download_image(url: str) -> Image.Image:
    """Returns the image at an http(s) address.

    Raises RequestNotAllowed as the settings api_enable_requests and api_forbid_local_requests say, and InvalidInput
    when no image comes.
    """
    opts = shared.opts
    if not opts.api_enable_requests:
        raise RequestNotAllowed(
            "Requests not allowed: send the picture as base64, or turn the setting api_enable_requests on",
            field="image",
        )
    content = image_fetch.fetch(url, only_public=opts.api_forbid_local_requests, agent=opts.api_useragent)
    try:
        return images.read(io.BytesIO(content))
    except (UnidentifiedImageError, OSError) as e:
        raise InvalidInput(f"Invalid image url: {url} gave no picture", field="image") from e


def decode_base64_to_image(encoding: str) -> Image.Image:
    """Returns the image in base64 text, a data URI or, if allowed, at an address; turned upright by its EXIF data.

    Raises InvalidInput for anything else.
    """
    if not isinstance(encoding, str):
        raise InvalidInput("Invalid encoded image: a picture is given as base64 text or as a data URI", field="image")
    if encoding.startswith(("http://", "https://")):
        return download_image(encoding)
    if encoding.startswith("data:image/"):
        encoding = encoding.split(";", 1)[-1].split(",", 1)[-1]
    try:
        return images.read(io.BytesIO(base64.b64decode(encoding)))
    except (binascii.Error, ValueError, UnidentifiedImageError, OSError) as e:
        raise InvalidInput(
            "Invalid encoded image: give the picture as base64 text or as a data URI", field="image"
        ) from e


def decode_images(
    encodings: Sequence[Any], field: str, decode: Callable[[Any], Any] = decode_base64_to_image
) -> list[Any]:
    """Returns the images of a list, as decode does. Raises InvalidInput, naming field, for more of them, or more pixels
    in all, than the settings allow; each image is looked at before the next one is read.
    """
    limits = bounds.current()
    limits.check_images(len(encodings), field)
    found: list[Any] = []
    pixels = 0
    for encoding in encodings:
        found.append(decode(encoding))
        if isinstance(found[-1], Image.Image):
            pixels += found[-1].width * found[-1].height
        limits.check_pixels(pixels, field)
    return found


def encode_pil_to_base64(image: Image.Image | str) -> bytes | str:
    """Returns the image in the format of the setting samples_format, infotext included, as base64; text as it is."""
    if isinstance(image, str):
        return image
    return base64.b64encode(images.encode(image, shared.opts.samples_format))


def to_json_image(image: Image.Image | str) -> str:
    """Returns what `encode_pil_to_base64` does, as text."""
    encoded = encode_pil_to_base64(image)
    return encoded if isinstance(encoded, str) else encoded.decode("ascii")


def to_json_images(images: Sequence[ResultImage]) -> list[str]:
    """Returns what a job has made as base64 text."""
    return [base64.b64encode(image.content).decode("ascii") for image in images]
