"""face: images in and out of JSON: base64, data URIs and, where the settings allow it, addresses."""

from __future__ import annotations

import base64
import binascii
import io
import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlparse

import requests
from PIL import Image, UnidentifiedImageError

from modules import bounds, images, shared
from modules.errors import InvalidInput, WebuiError

DOWNLOAD_SECONDS = 30


class RequestNotAllowed(WebuiError):
    """An address that must not be fetched."""

    http_status = 403


def verify_url(url: str) -> bool:
    """Returns whether every address the host resolves to is a public one."""
    with suppress(OSError, ValueError):
        host = urlparse(url).hostname or ""
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
        return bool(found) and all(ipaddress.ip_address(address).is_global for address in found)
    return False


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
    if opts.api_forbid_local_requests and not verify_url(url):
        raise RequestNotAllowed("Request to local resource not allowed: send the picture as base64", field="image")
    headers = {"user-agent": opts.api_useragent} if opts.api_useragent else {}
    try:
        # A redirect could lead to a local address that was never checked.
        answer = requests.get(
            url, timeout=DOWNLOAD_SECONDS, headers=headers, allow_redirects=not opts.api_forbid_local_requests
        )
        answer.raise_for_status()
        return images.read(io.BytesIO(answer.content))
    except (requests.RequestException, UnidentifiedImageError, OSError) as e:
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


def decode_images(encodings: Sequence[Any], field: str) -> list[Image.Image]:
    """Returns the images of a list, as `decode_base64_to_image` does. Raises InvalidInput, naming field, for more of
    them, or more pixels in all, than the settings allow; each image is looked at before the next one is read.
    """
    limits = bounds.current()
    limits.check_images(len(encodings), field)
    found: list[Image.Image] = []
    for encoding in encodings:
        found.append(decode_base64_to_image(encoding))
        limits.check_pixels(sum(image.width * image.height for image in found), field)
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
