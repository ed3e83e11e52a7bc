"""base: the metadata of an opened image as `Chunks`, from whichever place its format keeps them in."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from PIL import Image

from modules import image_files
from modules.dialects import stealth
from modules.dialects.base import Chunks

TAGS = {"ImageDescription": image_files.IMAGE_DESCRIPTION, "Make": 0x010F, "Model": 0x0110}
MAKER_NOTE = 0x927C
GRAPH_CHUNKS = ("prompt", "workflow")
"""Texts that ComfyUI writes into PNG under these names, into WebP as "name:text" in EXIF tags of cameras."""

XMP_KEYS = ("xmp", "XML:com.adobe.xmp")
MAX_HIDDEN_PIXELS = 64_000_000
"""Images larger than this are not searched for hidden text."""


def chunks_of(image: Image.Image) -> Chunks:
    """Returns all texts of an image; its pixels are searched only where the file says nothing."""
    load_late_texts(image)
    texts = {key: as_text(value) for key, value in image.info.items() if isinstance(value, str | bytes)}
    block = texts.pop("exif", "") and image.info["exif"]
    if isinstance(block, bytes):
        texts |= exif_texts(block)
    texts["xmp"] = next((texts[key] for key in XMP_KEYS if texts.get(key)), "")
    found = ("parameters", "UserComment", "comment", "Comment", "prompt", "workflow")
    found += ("invokeai_metadata", "sd-metadata", "xmp")
    if not any(texts.get(key) for key in found) and image.width * image.height <= MAX_HIDDEN_PIXELS:
        texts["stealth"] = stealth.read(image)
    return Chunks({key: value for key, value in texts.items() if value}, image.size)


def load_late_texts(image: Image.Image) -> None:
    """Reads a PNG file to its end: texts may stand behind the pixels. A file that is cut off keeps what was found."""
    if image.format == "PNG" and not (image.info.keys() - {"dpi", "srgb", "gamma", "icc_profile", "transparency"}):
        with suppress(OSError, SyntaxError, ValueError):
            image.load()


def as_text(value: Any) -> str:
    """Returns a text, or bytes as the text they spell."""
    return value.decode("utf8", errors="ignore") if isinstance(value, bytes) else value


def exif_texts(block: bytes) -> dict[str, str]:
    """Returns the texts of an EXIF block; none for a damaged one."""
    exif = image_files.exif_of(block)
    if exif is None:
        return {}
    values = {name: exif.get(tag) for name, tag in TAGS.items()}
    values["MakerNote"] = exif.get_ifd(image_files.EXIF_IFD).get(MAKER_NOTE) or exif.get(MAKER_NOTE)
    texts = {key: utf8_text(value) for key, value in values.items() if isinstance(value, str | bytes)}
    for text in [texts[tag] for tag in TAGS if tag in texts]:
        name, _, graph = text.partition(":")
        if name in GRAPH_CHUNKS:
            texts.setdefault(name, graph)
    return texts | {"UserComment": image_files.comment_of(exif)}


def utf8_text(value: str | bytes) -> str:
    """Returns the text of an EXIF tag. Pillow reads those of type ASCII as Latin-1, programs write UTF-8 there."""
    data = value.encode("latin_1", errors="replace") if isinstance(value, str) else value
    return data.decode("utf8", errors="ignore").strip("\0")
