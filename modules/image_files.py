"""base: image files: which formats keep which text, and writing that leaves a whole file or none.

Knows no numbering: `images` decides what is written where.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image, PngImagePlugin

from modules.errors import InvalidInput, WebuiError
from modules.options import OptionValues

logger = logging.getLogger(__name__)

EXIF_IFD = 0x8769
USER_COMMENT = 0x9286
USER_COMMENT_CODECS = {
    b"UNICODE\0": "utf_16_be",
    b"ASCII\0\0\0": "ascii",
    b"JIS\0\0\0\0\0": "shift_jis",
}

MAX_JPEG_EXIF = 65533  # bytes: what an APP1 segment holds
MAX_JPEG_SIDE = 65535  # pixels
MAX_WEBP_SIDE = 16383  # pixels
MAX_NAME_BYTES = 255  # of a file name, on all usual file systems
UINT16_TO_UINT8 = 0.0038910505836576

FULL_DISK = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
BAD_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}


@dataclass(frozen=True)
class ImageEncoding(OptionValues):
    """How images are encoded. The names are those of the options.

    enable_pnginfo: whether files carry texts. jpeg_quality: 1..100, of all lossy formats.
    """

    enable_pnginfo: bool = True
    jpeg_quality: int = 80
    webp_lossless: bool = False


def pillow_format(extension: str) -> str:
    """Returns Pillow's name of the format that an extension (".png") stands for; raises InvalidInput without one."""
    known = Image.registered_extensions()
    name = known.get(extension.lower())
    if name is None or name not in Image.SAVE:
        writable = sorted(ending[1:] for ending, format_name in known.items() if format_name in Image.SAVE)
        raise InvalidInput(
            f"{extension.lstrip('.')!r} is not a picture format this program writes; use one of: {', '.join(writable)}",
            field="samples_format",
        )
    return name


def fitting_extension(image: Image.Image, extension: str) -> str:
    """Returns extension, or "png" where the image is larger than that format allows."""
    longest = max(image.size)
    too_large = (extension in ("jpg", "jpeg") and longest > MAX_JPEG_SIDE) or (
        extension == "webp" and longest > MAX_WEBP_SIDE
    )
    return "png" if too_large else extension


def encode_image(
    image: Image.Image,
    file: Any,
    extension: str,
    settings: ImageEncoding,
    infotext: str | None = None,
    texts: Mapping[str, Any] | None = None,
) -> None:
    """Writes image to a file object in the format of extension (".png"), with its infotext where the format keeps one.

    texts: all chunks of a PNG, the infotext among them under its own name.
    """
    name = pillow_format(extension)
    infotext = infotext if settings.enable_pnginfo else None
    if name == "PNG":
        image.save(file, format=name, pnginfo=png_texts(texts or {}) if settings.enable_pnginfo else None)
    elif name == "GIF":
        image.save(file, format=name, **({"comment": infotext} if infotext is not None else {}))
    elif name in ("JPEG", "WEBP", "AVIF"):
        exif = infotext_exif(infotext) if infotext is not None else b""
        if name == "JPEG" and len(exif) > MAX_JPEG_EXIF:
            logger.warning("The infotext is too long for a JPEG file (%d bytes) and is left out of it", len(exif))
            exif = b""
        lossless = {"lossless": settings.webp_lossless} if name == "WEBP" else {}
        with_exif_mode(image, name).save(file, format=name, quality=settings.jpeg_quality, exif=exif, **lossless)
    else:
        image.save(file, format=name, quality=settings.jpeg_quality)


def png_texts(texts: Mapping[str, Any]) -> PngImagePlugin.PngInfo:
    """Returns the text chunks of a PNG file."""
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, str(value))
    return info


def with_exif_mode(image: Image.Image, format_name: str) -> Image.Image:
    """Returns image in a mode that the format can hold; JPEG and WebP images lose their transparency."""
    if format_name == "AVIF":
        return image
    if image.mode == "I;16":
        scaled = image.point(lambda value: value * UINT16_TO_UINT8)
        return scaled.convert("RGB" if format_name == "WEBP" else "L")
    return image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGB")


def infotext_exif(infotext: str) -> bytes:
    """Returns an EXIF block whose user comment is the infotext."""
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + infotext.encode("utf_16_be")
    return exif.tobytes()


def user_comment(exif_block: bytes) -> str:
    """Returns the user comment of an EXIF block, empty if it has none or is damaged."""
    exif = Image.Exif()
    try:
        exif.load(exif_block)
        comment = exif.get_ifd(EXIF_IFD).get(USER_COMMENT, b"")
    except (SyntaxError, struct.error, ValueError, KeyError, TypeError, OSError):
        logger.warning("The EXIF data of a picture cannot be read")
        return ""
    if isinstance(comment, str):
        return comment
    codec = USER_COMMENT_CODECS.get(comment[:8])
    if codec is None:
        return comment.removeprefix(b"\0" * 8).decode("utf8", errors="ignore")
    return comment[8:].decode(codec, errors="ignore")


def cut_name(name: str, extension: str) -> str:
    """Returns a file name, without its extension, short enough for file systems to take both; characters stay whole."""
    room = MAX_NAME_BYTES - max(4, len(extension.encode()))
    return name.encode("utf8", errors="ignore")[:room].decode("utf8", errors="ignore")


def claim(path: str) -> bool:
    """Creates the empty file path if nothing of that name exists; False if something does. No two callers get True."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    return True


@contextmanager
def atomic_file(path: str) -> Iterator[Any]:
    """Yields a binary file that becomes path when the block ends, and leaves nothing of itself when the block fails.

    Raises InvalidInput if path cannot be a file name, WebuiError if the disk is full or cannot be written to.
    """
    folder = os.path.dirname(path) or os.curdir
    temporary = os.path.join(folder, f"tmp-{uuid.uuid4().hex}.tmp")
    try:
        with translated_errors(path):
            os.makedirs(folder, exist_ok=True)
            with open(temporary, "xb") as file:
                yield file
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def translated_errors(path: str) -> Iterator[None]:
    """Turns what the operating system says about path into an error of ours that tells what to do."""
    try:
        yield
    except OSError as e:
        if e.errno in FULL_DISK:
            raise WebuiError(f"cannot save {path}: the disk is full; make room on it or choose another folder") from e
        if e.errno in BAD_NAME:
            raise InvalidInput(
                f"cannot save {path}: the system does not take this name; change the setting samples_filename_pattern",
                field="samples_filename_pattern",
            ) from e
        if e.errno is not None:
            raise WebuiError(f"cannot save {path}: {e.strerror}") from e
        raise
