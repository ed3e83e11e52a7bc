"""base: what other programs write into images, read as the infotext that stands for the same image.

One table of dialects, the first that fits counts. A reader is a function from chunks to fields; an image or a text of
v1.10.1 itself fits none.
"""

from __future__ import annotations

import logging

from modules.dialects import comfy, json_objects, pairs
from modules.dialects.base import Chunks, Dialect, Reading, Unreadable

__all__ = ["DIALECTS", "Chunks", "Dialect", "Reading", "Unreadable", "detect", "read", "read_text"]

logger = logging.getLogger(__name__)

DIALECTS: tuple[Dialect, ...] = (*json_objects.DIALECTS, *pairs.DIALECTS, *comfy.DIALECTS)


def detect(chunks: Chunks) -> Dialect | None:
    """Returns the dialect of some chunks, None for v1.10.1's and for what is not known."""
    return next((dialect for dialect in DIALECTS if dialect.detect(chunks)), None)


def read(chunks: Chunks) -> Reading | None:
    """Returns what the chunks of another program say; None where they are of none, or damaged, which the log names."""
    dialect = detect(chunks)
    if dialect is None:
        return None
    try:
        return dialect.read(chunks)
    except Unreadable as e:
        logger.warning("%s wrote the metadata of this image, but they cannot be read: %s", dialect.name, e)
        return None


def read_text(text: str) -> Reading | None:
    """Returns what a text says that was copied from another program; None for an infotext of v1.10.1."""
    return read(Chunks({"parameters": text, "prompt": text} if text.lstrip().startswith("{") else {"parameters": text}))
