"""base: what other programs write into images, read as the infotext that stands for the same image.

One table of dialects, the first that fits counts. A reader is a function from chunks to fields; an image or a text of
v1.10.1 itself fits none.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from modules.dialects import base, comfy, draw_things, json_objects, novelai, pairs
from modules.dialects.base import TEXT_CHUNKS, Chunks, Dialect, Finder, Reading, Unreadable, nowhere

__all__ = [
    "DIALECTS",
    "Chunks",
    "Dialect",
    "Reading",
    "Translation",
    "Unreadable",
    "detect",
    "translate",
    "translated",
    "translated_text",
]

logger = logging.getLogger(__name__)

DIALECTS: tuple[Dialect, ...] = (
    *novelai.DIALECTS,
    *json_objects.DIALECTS,
    *draw_things.DIALECTS,
    *pairs.DIALECTS,
    *comfy.DIALECTS,
)


TEXT_DOORS = ("parameters", "prompt", "workflow", "sd-metadata")
"""Chunks whose JSON people copy as a text."""


def detect(chunks: Chunks) -> Dialect | None:
    """Returns the dialect of some chunks, None for v1.10.1's and for what is not known."""
    return next((dialect for dialect in DIALECTS if dialect.detect(chunks)), None)


class Translation(NamedTuple):
    """What became of another program's metadata.

    text: the infotext that stands for the same image; empty for what cannot be read, None for what no other program
    wrote: an infotext of v1.10.1 is one already. problem: why it cannot be read.
    """

    text: str | None
    problem: str = ""


def translate(chunks: Chunks, find: Finder = nowhere) -> Translation:
    """Reads what another program wrote. find: which files here the models are."""
    dialect = detect(chunks)
    if dialect is None:
        is_json = base.is_like_json(chunks.get(*TEXT_CHUNKS))
        return Translation("", "JSON of a program that is not known here") if is_json else Translation(None)
    try:
        return Translation(dialect.read(chunks).infotext(find))
    except (Unreadable, RecursionError) as e:
        logger.warning("%s wrote the metadata of this image, but they cannot be read: %s", dialect.name, e)
        return Translation("", f"{dialect.name}: {e}")


def translated(chunks: Chunks, find: Finder = nowhere) -> str | None:
    """Returns the same text alone."""
    return translate(chunks, find).text


def translated_text(text: str, find: Finder = nowhere) -> str:
    """Returns the infotext for a text that was copied from any program; JSON that cannot be read gives an empty one."""
    text = text.removeprefix("\ufeff")
    doors = TEXT_DOORS if base.is_like_json(text) else ("parameters",)
    found = translated(Chunks(dict.fromkeys(doors, text)), find)
    return text if found is None else found
