"""Files of networks: what their headers say of them. Opens no tensors, computes no hashes.

What a header says is kept in the program's cache, so that a folder of thousands is listed without opening a file.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from modules import cache, errors, weights
from modules.adapter_files import families, folders

logger = logging.getLogger(__name__)

CACHE_SECTION = "network-headers"
"""Part of the cache with the fields of HeaderFacts: other fields need another name."""

COVER_IMAGES_KEY = "ssmd_cover_images"
"""Key of the metadata with images: a JSON list of base64 texts."""

SHOWN_FIRST = ("ss_sd_model_name", "ss_resolution", "ss_clip_skip", "ss_num_train_images")
SHOWN_LAST = ("ss_tag_frequency",)
"""Keys of the metadata that a reader looks for, and those that are too long to come before others."""

VERSIONS = {"sd1": "SD1", "sd2": "SD2", "sdxl": "SDXL"}
"""Name of a family -> version; files for other families are of version "Unknown"."""


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


def find() -> list[FoundNetwork]:
    """Returns all files, folder by folder in natural order; names that two files could have are the later one's."""
    places = dict(folders.files())
    facts = cache.facts_of_files(CACHE_SECTION, places, read_facts)
    names = folders.names({filename: places[filename] for filename in facts})
    return [FoundNetwork(name, filename, HeaderFacts(**facts[filename])) for name, filename in names.items()]


def facts_of(filename: str) -> HeaderFacts:
    """Returns what the header of one file says; nothing for one that is not there."""
    facts = cache.facts_of_files(CACHE_SECTION, [filename], read_facts)
    return HeaderFacts(**facts.get(filename, {}))


def read_facts(filename: str) -> dict[str, Any]:
    """Returns the fields of a file's HeaderFacts; those of an empty one, and a line in the log, for a damaged file."""
    try:
        facts = header_facts(filename) if weights.is_safetensors(filename) else HeaderFacts()
    except errors.ModelLoadError as e:
        logger.warning("%s", e)
        facts = HeaderFacts()
    return asdict(facts)


def header_facts(filename: str) -> HeaderFacts:
    """Returns what the header of a safetensors file says. Raises ModelLoadError for a file that is none."""
    metadata = weights.read_plain_metadata(filename)
    return HeaderFacts(
        alias=metadata.get("ss_output_name") or None,
        model_hash=metadata.get("sshs_model_hash") or None,
        version=version_of(filename, metadata),
        has_metadata=bool(metadata),
        has_cover=COVER_IMAGES_KEY in metadata,
    )


def read_metadata(filename: str) -> dict[str, Any]:
    """Returns the metadata of a file, JSON objects in it decoded, in the order in which they are shown.

    Nothing, and a line in the log, for a file that cannot be read.
    """
    if not weights.is_safetensors(filename):
        return {}
    try:
        metadata = weights.read_plain_metadata(filename)
    except (OSError, errors.ModelLoadError) as e:
        logger.warning("cannot read the metadata of %s: %s", filename, e)
        return {}
    others = [key for key in metadata if key not in (*SHOWN_FIRST, *SHOWN_LAST)]
    order = [key for key in (*SHOWN_FIRST, *others, *SHOWN_LAST) if key in metadata]
    return {key: weights.decoded(metadata[key]) for key in order}


def version_of(filename: str, metadata: Mapping[str, Any]) -> str:
    """Returns the version of checkpoints a file is for: as its metadata say, else as its layers tell.

    "Unknown" without any metadata; "SD1" for a file with some that do not tell.
    """
    if not metadata:
        return "Unknown"
    family = families.by_header(metadata) or families.family_of(weights.read_shapes(filename), metadata)
    return "SD1" if family is None else VERSIONS.get(family.name, "Unknown")
