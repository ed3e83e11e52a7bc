"""engine: which files here are the models that an image's metadata name: by their names, or by files beside them.

Programs that download models write what Civitai says of one into a JSON file beside it, its sidecar.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from modules import checkpoints, sd_vae
from modules.adapter_files import folders
from modules.dialects.base import Local, Wanted, stem, whole
from modules.util import FileStamp

logger = logging.getLogger(__name__)

SIDECARS = (".civitai.info", ".cm-info.json", ".metadata.json", ".json")
"""Endings that take the place of the model's own."""

VERSION_KEYS = ("modelVersionId", "VersionId")
MAX_SIDECAR = 10_000_000
"""Bytes of a sidecar that is read."""


def find(wanted: Wanted) -> Local | None:
    """Returns the file here that metadata mean, None if there is none.

    Its number at Civitai counts first, then the name. A network is called by its name anyway, so it is only found by
    the former.
    """
    files, called, local = KINDS[wanted.kind]
    if wanted.version is not None:
        for path in files():
            if wanted.version in versions_of(path):
                return local(path)
    path = called(wanted.name) if wanted.name else None
    return None if path is None else local(path)


def versions_of(path: str) -> frozenset[int]:
    """Returns the numbers at Civitai that the sidecars of a model file name."""
    found: frozenset[int] = frozenset()
    for ending in SIDECARS:
        sidecar = os.path.splitext(path)[0] + ending
        try:
            stamp = FileStamp.of(sidecar)
        except OSError:
            continue
        if stamp.size <= MAX_SIDECAR:
            found |= read_sidecar(sidecar, stamp)
    return found


@lru_cache(maxsize=100_000)
def read_sidecar(sidecar: str, stamp: FileStamp) -> frozenset[int]:
    """Returns the numbers that a sidecar names; none if it cannot be read. It is read anew when its stamp changes."""
    try:
        with open(sidecar, encoding="utf8") as file:
            source = json.load(file)
    except (OSError, ValueError, RecursionError) as e:
        logger.warning("cannot read %s: %s", sidecar, e)
        return frozenset()
    return versions_in(source) if isinstance(source, dict) else frozenset()


def versions_in(source: dict[str, Any]) -> frozenset[int]:
    """Returns the numbers in an object: one of Civitai's API, or with such an object in it, or with keys of its own."""
    inner = source.get("civitai")
    objects = [source, inner] if isinstance(inner, dict) else [source]
    versions = [source.get(key) for key in VERSION_KEYS]
    versions += [each.get("id") for each in objects if "modelId" in each]
    return frozenset(number for number in map(whole, versions) if number)


def network_files() -> Iterator[str]:
    """Yields the files of networks."""
    yield from (path for path, _ in folders.files())


def local_network(path: str) -> Local | None:
    """Returns a network by the name that tags find it by, which is longer than its stem where others have that."""
    names = folders.names(dict(folders.files()))
    return next((Local(name) for name, file in names.items() if file == path), None)


def checkpoint_files() -> list[str]:
    """Returns the files of checkpoints."""
    return [info.filename for info in list(checkpoints.checkpoints_list.values())]


def checkpoint_called(name: str) -> str | None:
    """Returns the file of the checkpoint that has this name."""
    info = checkpoints.checkpoint_aliases.get(name)
    return None if info is None else info.filename


def local_checkpoint(path: str) -> Local | None:
    """Returns a checkpoint with the hash by which infotexts choose it: the one that is known without reading it all."""
    info = next((info for info in list(checkpoints.checkpoints_list.values()) if info.filename == path), None)
    if info is None:
        return None
    names = [name for name in (info.shorthash, info.hash) if checkpoints.checkpoint_aliases.get(name) is info]
    return Local(info.name_for_extra, names[0] if names else info.name)


def vae_files() -> list[str]:
    """Returns the files of VAEs."""
    return list(sd_vae.vae_dict.values())


def vae_called(name: str) -> str | None:
    """Returns the VAE file of this name, with its ending or without."""
    return next((path for file, path in sd_vae.vae_dict.items() if name in (file, stem(file))), None)


Kind = tuple[Callable[[], Iterable[str]], Callable[[str], str | None], Callable[[str], Local | None]]

KINDS: dict[str, Kind] = {
    "checkpoint": (checkpoint_files, checkpoint_called, local_checkpoint),
    "network": (network_files, lambda name: None, local_network),
    "vae": (vae_files, vae_called, lambda path: Local(sd_vae.get_filename(path))),
}
"""Kind of file -> all of them, the one of a name, and how infotexts name it."""
