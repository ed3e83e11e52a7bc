"""Files of networks: finds them, and reads what their headers say of them. Opens no tensors, computes no hashes.

What a header says is kept in the program's cache, so that a folder of thousands is listed without opening a file.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from modules import cache, errors, shared, util, weights

logger = logging.getLogger(__name__)

EXTENSIONS = (".pt", ".ckpt", ".safetensors")

CACHE_SECTION = "network-headers"
"""Part of the cache with the fields of HeaderFacts: other fields need another name."""

COVER_IMAGES_KEY = "ssmd_cover_images"
"""Key of the metadata with images: a JSON list of base64 texts."""

SHOWN_FIRST = ("ss_sd_model_name", "ss_resolution", "ss_clip_skip", "ss_num_train_images")
SHOWN_LAST = ("ss_tag_frequency",)
"""Keys of the metadata that a reader looks for, and those that are too long to come before others."""

ARCHITECTURES = {
    "stable-diffusion-xl": "SDXL",
    "stable-diffusion-v2": "SD2",
    "stable-diffusion-v1": "SD1",
    "sdxl": "SDXL",
    "sd_v2": "SD2",
    "sd_v1": "SD1",
}
"""How names of what a network was trained on begin, in ss_base_model_version and modelspec.architecture -> version."""


@dataclass(frozen=True)
class HeaderFacts:
    """What the header of a file says.

    alias: the name its maker gave it. model_hash: sha256 of its weights, as the maker wrote it. version: of the
    checkpoints it is for, "SD1", "SD2", "SDXL" or "Unknown". has_metadata, has_cover: whether it says anything, and
    whether images are among it.
    """

    alias: str | None = None
    model_hash: str | None = None
    version: str = "Unknown"
    has_metadata: bool = False
    has_cover: bool = False


class Metadata(Mapping[str, Any]):
    """The metadata of a file, read when they are first looked at; whether there are any is known without."""

    def __init__(self, filename: str, facts: HeaderFacts):
        self._filename = filename
        self._facts = facts

    @functools.cached_property
    def _content(self) -> dict[str, Any]:
        return read_metadata(self._filename)

    def __bool__(self) -> bool:
        return self._facts.has_metadata

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


class FoundNetwork(NamedTuple):
    """A file with a name that no other has."""

    name: str
    filename: str
    facts: HeaderFacts


def folders() -> list[str]:
    """Returns the folders of networks, each once."""
    return list(dict.fromkeys(map(os.path.abspath, (shared.cmd_opts.lora_dir, shared.cmd_opts.lyco_dir_backcompat))))


def find() -> list[FoundNetwork]:
    """Returns all files, folder by folder in natural order; names that two files could have are the later one's."""
    places = dict(files_in_folders())
    facts = cache.facts_of_files(CACHE_SECTION, places, read_facts)
    names: dict[str, str] = {}
    for filename in reversed(list(facts)):
        name = next(name for name in possible_names(filename, places[filename]) if name not in names)
        names[name] = filename
    return [
        FoundNetwork(name, filename, HeaderFacts(**facts[filename])) for name, filename in reversed(list(names.items()))
    ]


def files_in_folders() -> Iterator[tuple[str, str]]:
    """Yields (path of a file, folder of networks it lies in)."""
    for folder in folders():
        for filename in util.walk_files(folder, EXTENSIONS, include_hidden=shared.opts.list_hidden_files):
            try:
                filename.encode()
            except UnicodeEncodeError:
                logger.warning("%r is left out: its name is no text in UTF-8", filename)
            else:
                yield filename, folder


def possible_names(filename: str, folder: str) -> Iterator[str]:
    """Yields names of a file, the shortest first: its stem, its path below the folder without ending, the path."""
    relative = os.path.relpath(filename, folder).replace(os.sep, "/")
    yield os.path.splitext(os.path.basename(filename))[0]
    yield os.path.splitext(relative)[0]
    yield relative
    yield filename


def tag_name(name: str) -> str:
    """Returns a name as it can stand in a tag: without the characters that part a tag, or begin a comment."""
    return re.sub(r"[:<>=#]", "_", name)


def facts_of(filename: str) -> HeaderFacts:
    """Returns what the header of one file says; nothing for one that is not there."""
    facts = cache.facts_of_files(CACHE_SECTION, [filename], read_facts)
    return HeaderFacts(**facts.get(filename, {}))


def read_facts(filename: str) -> dict[str, Any]:
    """Returns the fields of a file's HeaderFacts."""
    metadata = plain_metadata(filename)
    return asdict(
        HeaderFacts(
            alias=metadata.get("ss_output_name") or None,
            model_hash=metadata.get("sshs_model_hash") or None,
            version=version_of(metadata),
            has_metadata=bool(metadata),
            has_cover=COVER_IMAGES_KEY in metadata,
        )
    )


def plain_metadata(filename: str) -> dict[str, str]:
    """Returns the metadata of a file as they are; nothing, and a line in the log, for a damaged one."""
    if not weights.is_safetensors(filename):
        return {}
    try:
        return weights.read_plain_metadata(filename)
    except errors.ModelLoadError as e:
        logger.warning("%s", e)
        return {}


def read_metadata(filename: str) -> dict[str, Any]:
    """Returns the metadata of a file, JSON objects in it decoded, in the order in which they are shown."""
    metadata = plain_metadata(filename)
    others = [key for key in metadata if key not in (*SHOWN_FIRST, *SHOWN_LAST)]
    order = [key for key in (*SHOWN_FIRST, *others, *SHOWN_LAST) if key in metadata]
    return {key: weights.decoded(metadata[key]) for key in order}


def version_of(metadata: Mapping[str, Any]) -> str:
    """Returns the version of checkpoints that metadata name: "SD1" if they name none, "Unknown" without any."""
    if not metadata:
        return "Unknown"
    if str(metadata.get("ss_v2")) == "True":
        return "SD2"
    named = metadata.get("ss_base_model_version") or metadata.get("modelspec.architecture")
    if not named:
        return "SD1"
    return next((version for name, version in ARCHITECTURES.items() if str(named).startswith(name)), "Unknown")
