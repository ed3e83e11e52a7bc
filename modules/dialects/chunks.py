"""base: the metadata of an opened image as `Chunks`, from whichever place its format keeps them in."""

from __future__ import annotations

import struct
from typing import Any

from PIL import Image

from modules import image_files
from modules.dialects import stealth
from modules.dialects.base import Chunks

MAKE, MODEL, MAKER_NOTE = 0x010F, 0x0110, 0x927C
XMP_KEYS = ("xmp", "XML:com.adobe.xmp")
MAX_HIDDEN_PIXELS = 64_000_000
"""Images larger than this are not searched for hidden text."""


def chunks_of(image: Image.Image) -> Chunks:
    """Returns all texts of an image; its pixels are searched only where the file says nothing."""
    texts = {key: as_text(value) for key, value in image.info.items() if isinstance(value, str | bytes)}
    if "exif" in image.info:
        texts |= exif_texts(image.info["exif"])
    texts["xmp"] = next((texts[key] for key in XMP_KEYS if texts.get(key)), "")
    found = ("parameters", "UserComment", "comment", "Comment", "prompt", "invokeai_metadata", "xmp")
    if not any(texts.get(key) for key in found) and image.width * image.height <= MAX_HIDDEN_PIXELS:
        texts["stealth"] = stealth.read(image)
    return Chunks({key: value for key, value in texts.items() if value}, image.size)


def as_text(value: Any) -> str:
    """Returns a text, or bytes as the text they spell."""
    return value.decode("utf8", errors="ignore") if isinstance(value, bytes) else value


def exif_texts(block: bytes) -> dict[str, str]:
    """Returns the texts of an EXIF block; none for a damaged one."""
    texts = {"UserComment": image_files.user_comment(block)}
    exif = Image.Exif()
    try:
        exif.load(block)
        values = {"Make": exif.get(MAKE), "Model": exif.get(MODEL)}
        values["MakerNote"] = exif.get_ifd(image_files.EXIF_IFD).get(MAKER_NOTE)
    except (SyntaxError, struct.error, ValueError, KeyError, TypeError, OSError):
        return texts
    return texts | {key: as_text(value) for key, value in values.items() if isinstance(value, str | bytes)}
