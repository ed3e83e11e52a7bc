"""base: text hidden in the lowest bits of an image, as NovelAI and others hide it.

Bits run down each column, then on to the next. With transparency one bit a pixel in the alpha channel, or three in red,
green and blue: a signature of 15 bytes, the number of bits that follow (32 bits), then UTF-8, plain or gzipped.
"""

from __future__ import annotations

import gzip
import io
import zlib

import numpy as np
from PIL import Image

SIGNATURE_BYTES = 15
LENGTH_BYTES = 4
MAX_TEXT = 10_000_000
"""Bytes a hidden text may have once it is unpacked."""

SIGNATURES = {
    "A": {b"stealth_pnginfo": False, b"stealth_pngcomp": True},
    "RGB": {b"stealth_rgbinfo": False, b"stealth_rgbcomp": True},
}
"""Channels -> signature -> whether the text is gzipped."""


def read(image: Image.Image) -> str:
    """Returns the text that is hidden in an image, empty if there is none or it is damaged."""
    if image.mode not in ("RGBA", "RGB"):
        return ""
    for channels, signatures in SIGNATURES.items():
        if set(channels) <= set(image.mode):
            text = read_channels(image, channels, signatures)
            if text:
                return text
    return ""


def read_channels(image: Image.Image, channels: str, signatures: dict[bytes, bool]) -> str:
    """Returns the text that these channels hide, empty if they hide none. Only the columns that are needed are read."""
    head = hidden_bytes(image, channels, SIGNATURE_BYTES + LENGTH_BYTES)
    is_packed = signatures.get(head[:SIGNATURE_BYTES])
    if is_packed is None:
        return ""
    length = int.from_bytes(head[SIGNATURE_BYTES:]) // 8
    if length > image.width * image.height * len(channels) // 8:
        return ""
    data = hidden_bytes(image, channels, SIGNATURE_BYTES + LENGTH_BYTES + length)[SIGNATURE_BYTES + LENGTH_BYTES :]
    try:
        return (unpacked(data) if is_packed else data).decode("utf8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return ""


def hidden_bytes(image: Image.Image, channels: str, count: int) -> bytes:
    """Returns the first bytes that the lowest bits of these channels spell."""
    columns = min(-(-count * 8 // (image.height * len(channels))), image.width)
    pixels = np.asarray(image.crop((0, 0, columns, image.height)))  # (height, columns, channels)
    chosen = pixels[..., [image.mode.index(channel) for channel in channels]]
    bits = (chosen & 1).transpose(1, 0, 2).reshape(-1)[: count * 8]
    return np.packbits(bits).tobytes()


def unpacked(data: bytes) -> bytes:
    """Returns what was gzipped, at most MAX_TEXT bytes of it."""
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(MAX_TEXT)
