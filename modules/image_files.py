"""base: image files: which formats keep which text, and writing that leaves a whole file or none.

Knows no numbering: `images` decides what is written where.
"""

from __future__ import annotations

import errno
import functools
import io
import logging
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image, PngImagePlugin

from modules import run_files, whole_files
from modules.errors import InvalidInput, NotSaved
from modules.options import OptionValues

logger = logging.getLogger(__name__)

EXIF_IFD = 0x8769
USER_COMMENT = 0x9286
IMAGE_DESCRIPTION = 0x010E
USER_COMMENT_MARK = b"UNICODE\0"
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf8", b"\xff\xfe": "utf_16_le", b"\xfe\xff": "utf_16_be"}

TYPE_ASCII, TYPE_LONG, TYPE_UNDEFINED = 2, 4, 7
TIFF_HEADER_BYTES = 8
IFD_ENTRY_BYTES = 12
NO_NEXT_IFD = b"\0\0\0\0"

MAX_JPEG_EXIF = 65533  # bytes: what an APP1 segment holds
MAX_JPEG_SIDE = 65535  # pixels
MAX_WEBP_SIDE = 16383  # pixels
MAX_NAME_BYTES = 255  # of a file name, on all usual file systems
UINT16_TO_UINT8 = 0.0038910505836576

PNG_LEVEL = 5
"""How hard zlib tries. Pillow's default, 6, takes 1.6 times as long, for generated images that are 1 % smaller."""

FULL_DISK = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
BAD_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY}
"""Said of a name that cannot be one, and of one where a file stands for a folder or a folder for the file."""
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
"""Said of a folder that is closed to the program."""


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
    if name is None or not is_written(name):
        writable = sorted(ending[1:] for ending, format_name in known.items() if is_written(format_name))
        raise InvalidInput(
            f"{extension.lstrip('.')!r} is not a picture format this program writes; use one of: {', '.join(writable)}",
            field="samples_format",
        )
    return name


@functools.cache
def is_written(format_name: str) -> bool:
    """Says whether images can be saved in a format; Pillow registers some that need a library it does not have."""
    try:
        Image.new("RGB", (16, 16)).save(io.BytesIO(), format=format_name)
    except (KeyError, OSError, ValueError):
        return False
    return True


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

    texts: all chunks of a PNG, the infotext among them under its own name. Other formats have no room for them all:
    they keep "parameters", and where the infotext is another one, that as a description beside it.
    """
    name = pillow_format(extension)
    texts = texts or {}
    comment, description = kept_texts(infotext, texts) if settings.enable_pnginfo else (None, None)
    if name == "PNG":
        pnginfo = png_texts(texts) if settings.enable_pnginfo else None
        image.save(file, format=name, pnginfo=pnginfo, compress_level=PNG_LEVEL)
    elif name == "GIF":
        image.save(file, format=name, **({"comment": comment} if comment is not None else {}))
    elif name in ("JPEG", "WEBP", "AVIF"):
        exif = infotext_exif(comment, description) if comment is not None else b""
        if name == "JPEG" and len(exif) > MAX_JPEG_EXIF:
            exif = shorter_exif(comment)
        lossless = {"lossless": settings.webp_lossless} if name == "WEBP" else {}
        with_exif_mode(image, name).save(file, format=name, quality=settings.jpeg_quality, exif=exif, **lossless)
    else:
        image.save(file, format=name, quality=settings.jpeg_quality)


def kept_texts(infotext: str | None, texts: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Returns the text that a format with room for one keeps, and another that stands beside it, where it can."""
    comment = texts.get("parameters", infotext)
    if comment is None:
        return None, None
    description = infotext if infotext not in (None, comment) else texts.get("postprocessing")
    return str(comment), None if description is None else str(description)


def shorter_exif(infotext: str) -> bytes:
    """Returns the EXIF block of an infotext alone, empty where even that is too long for a JPEG file."""
    exif = infotext_exif(infotext)
    if len(exif) <= MAX_JPEG_EXIF:
        return exif
    logger.warning("The infotext is too long for a JPEG file (%d bytes) and is left out of it", len(exif))
    return b""


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


def infotext_exif(infotext: str, description: str | None = None) -> bytes:
    """Returns an EXIF block whose user comment is the infotext; description: another text beside it.

    Big-endian, and the comment of type UNDEFINED, as the EXIF standard wants it; Pillow would write a type that other
    readers do not take for a text.
    """
    comment = USER_COMMENT_MARK + infotext.encode("utf_16_be", errors="replace")
    described = b"" if description is None else description.encode("utf8", errors="replace")
    if described:  # ends with a zero, is even, and is too long for the entry itself
        described = described.ljust(max(6, (len(described) + 2) // 2 * 2), b"\0")
    count = 2 if described else 1
    main_end = TIFF_HEADER_BYTES + 2 + count * IFD_ENTRY_BYTES + 4
    own_at = main_end + len(described)
    own_end = own_at + 2 + IFD_ENTRY_BYTES + 4

    main = [ifd_entry(EXIF_IFD, TYPE_LONG, 1, own_at)]
    if described:
        main.insert(0, ifd_entry(IMAGE_DESCRIPTION, TYPE_ASCII, len(described), main_end))
    own = ifd_entry(USER_COMMENT, TYPE_UNDEFINED, len(comment), own_end)
    directories = (struct.pack(">H", count), *main, NO_NEXT_IFD, described, struct.pack(">H", 1), own, NO_NEXT_IFD)
    return b"Exif\0\0MM\0*" + struct.pack(">L", TIFF_HEADER_BYTES) + b"".join(directories) + comment


def ifd_entry(tag: int, kind: int, count: int, value: int) -> bytes:
    """Returns an entry of an EXIF directory; value: the number, or where the data are."""
    return struct.pack(">HHLL", tag, kind, count, value)


def exif_of(block: bytes) -> Image.Exif | None:
    """Returns an EXIF block read, None for a damaged one."""
    exif = Image.Exif()
    try:
        exif.load(block)
        exif.get_ifd(EXIF_IFD)
    except (SyntaxError, struct.error, ValueError, KeyError, TypeError, OSError, EOFError):
        logger.warning("The EXIF data of a picture cannot be read")
        return None
    return exif


def user_comment(exif_block: bytes) -> str:
    """Returns the user comment of an EXIF block, empty if it has none or is damaged."""
    exif = exif_of(exif_block)
    return "" if exif is None else comment_of(exif)


def comment_of(exif: Image.Exif) -> str:
    """Returns the user comment of EXIF data, empty if they have none. Some programs put it among the main tags."""
    comment = exif.get_ifd(EXIF_IFD).get(USER_COMMENT) or exif.get(USER_COMMENT, b"")
    if isinstance(comment, str):  # of type ASCII, which Pillow reads as Latin-1
        comment = comment.encode("latin_1", errors="replace")
    if isinstance(comment, tuple) and all(isinstance(value, int) and 0 <= value < 256 for value in comment):
        comment = bytes(comment)
    return comment_text(comment, exif.endian) if isinstance(comment, bytes) else ""


def comment_text(comment: bytes, byte_order: str = ">") -> str:
    """Returns the text of a user comment: 8 bytes that name its code, then the text.

    byte_order: that of the EXIF block, "<" or ">".
    """
    mark, body = comment[:8], comment[8:]
    if mark == USER_COMMENT_MARK:
        return unicode_text(body, byte_order)
    if mark == b"JIS\0\0\0\0\0":
        return body.decode("shift_jis", errors="ignore")
    if mark in (b"ASCII\0\0\0", b"\0" * 8):
        return body.decode("utf8", errors="ignore").rstrip("\0")
    return comment.decode("utf8", errors="ignore").rstrip("\0")


def unicode_text(data: bytes, byte_order: str) -> str:
    """Returns a text that its mark says to be Unicode, without saying in which form.

    A byte order mark tells it. Else bytes that are no UTF-16 of Latin signs, but valid UTF-8, are that; and the byte
    order is where Latin signs have their zeros, in texts without any that of the EXIF block.
    """
    for mark, codec in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return data[len(mark) :].decode(codec, errors="ignore").rstrip("\0")
    first, second = data[0::2].count(0), data[1::2].count(0)
    text = data.rstrip(b"\0")
    if b"\0" not in text:
        with suppress(UnicodeDecodeError):
            return text.decode("utf8")
    is_little = second > first if first != second else byte_order == "<"
    return data.decode("utf_16_le" if is_little else "utf_16_be", errors="ignore").rstrip("\0")


def cut_name(name: str, extension: str) -> str:
    """Returns a file name, without its extension, short enough for file systems to take both; characters stay whole."""
    room = MAX_NAME_BYTES - max(4, len(extension.encode()))
    return name.encode("utf8", errors="ignore")[:room].decode("utf8", errors="ignore")


@contextmanager
def atomic_file(path: str) -> Iterator[Any]:
    """Yields a binary file that becomes path when the block ends, and leaves nothing of itself when the block fails.

    Raises InvalidInput if path cannot be a file name, NotSaved if the disk is full or cannot be written to.
    """
    with translated_errors(path):
        os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
        with whole_files.replacing(path, whole_files.unfinished_name(path)) as file:
            yield file
            run_files.announce(path)


@contextmanager
def translated_errors(path: str) -> Iterator[None]:
    """Turns what the operating system says about path into an error of ours that tells what to do."""
    try:
        yield
    except OSError as e:
        if e.errno in FULL_DISK:
            raise NotSaved(f"cannot save {path}: the disk is full; make room on it or choose another folder") from e
        if e.errno in BAD_NAME:
            raise InvalidInput(
                f"cannot save {path}: the system does not take this name; change the setting samples_filename_pattern",
                field="samples_filename_pattern",
            ) from e
        if e.errno is not None:
            fix = "; let the program write there, or choose another folder" if e.errno in CLOSED else ""
            raise NotSaved(f"cannot save {path}: {e.strerror}{fix}") from e
        raise
