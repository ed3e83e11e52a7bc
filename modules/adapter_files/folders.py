"""engine: where files of networks of the LoRA family lie, and the names by which tags find them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping

from modules import shared, util

logger = logging.getLogger(__name__)

EXTENSIONS = (".pt", ".ckpt", ".safetensors")


def folders() -> list[str]:
    """Returns the folders of networks, each once."""
    return list(dict.fromkeys(map(os.path.abspath, (shared.cmd_opts.lora_dir, shared.cmd_opts.lyco_dir_backcompat))))


def files() -> Iterator[tuple[str, str]]:
    """Yields (path of a file, folder of networks it lies in), folder by folder in natural order."""
    for folder in folders():
        for filename in shared.walk_files(folder, EXTENSIONS):
            if filename == util.sendable(filename):
                yield filename, folder
            else:
                logger.warning("%r is left out: its name is no text in UTF-8", filename)


def names(places: Mapping[str, str]) -> dict[str, str]:
    """Returns name -> path of a file, in the order given; a name that two files could have is the later one's.

    places: path of a file -> folder of networks it lies in.
    """
    found: dict[str, str] = {}
    for filename in reversed(list(places)):
        name = next(name for name in possible_names(filename, places[filename]) if name not in found)
        found[name] = filename
    return dict(reversed(found.items()))


def possible_names(filename: str, folder: str) -> Iterator[str]:
    """Yields names of a file, the shortest first: its stem, its path below the folder without ending, the path."""
    relative = os.path.relpath(filename, folder).replace(os.sep, "/")
    yield os.path.splitext(os.path.basename(filename))[0]
    yield os.path.splitext(relative)[0]
    yield relative
    yield filename
