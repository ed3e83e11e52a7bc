"""base: sha256 of model files, computed once and kept in the cache until the file changes."""

from __future__ import annotations

import hashlib
import logging
import os
from typing import Any, BinaryIO

from modules.cache import cache, dump_cache  # noqa: F401  # names extensions import from here
from modules.shared_cmd_options import cmd_opts
from modules.util import FileStamp

logger = logging.getLogger(__name__)

BLOCK_SIZE = 1024 * 1024


def calculate_sha256(filename: str) -> str:
    """Returns the sha256 of a file's bytes, 64 hexadecimal digits."""
    with open(filename, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def addnet_hash_safetensors(b: BinaryIO) -> str:
    """Returns the sha256 of a safetensors file without its header, so that a change of metadata does not change it."""
    header_size = int.from_bytes(b.read(8), "little")
    b.seek(header_size, os.SEEK_CUR)
    digest = hashlib.sha256()
    while block := b.read(BLOCK_SIZE):
        digest.update(block)
    return digest.hexdigest()


def sha256_from_cache(filename: str, title: str, use_addnet_hash: bool = False) -> str | None:
    """Returns the known sha256 of a file; None if it is not known or the file has changed.

    title: name of the file in the cache, such as "checkpoint/name.safetensors". use_addnet_hash: see sha256.
    """
    entry = _section(use_addnet_hash).get(title)
    try:
        return entry["sha256"] if FileStamp.of(filename).is_in(entry) else None
    except OSError:
        return None


def sha256(filename: str, title: str, use_addnet_hash: bool = False) -> str | None:
    """Returns the sha256 of a file, from the cache if possible; None if --no-hashing forbids to compute it.

    use_addnet_hash: leave out the header, as the makers of Lora files do; only for safetensors files.
    """
    known = sha256_from_cache(filename, title, use_addnet_hash)
    if known is not None or cmd_opts.no_hashing:
        return known

    logger.info("calculating sha256 of %s", filename)
    stamp = FileStamp.of(filename)
    if use_addnet_hash:
        with open(filename, "rb") as file:
            value = addnet_hash_safetensors(file)
    else:
        value = calculate_sha256(filename)
    _section(use_addnet_hash)[title] = {**stamp._asdict(), "sha256": value}
    return value


def partial_hash_from_cache(
    filename: str, title: str, *, use_addnet_hash: bool = False, length: int = 12
) -> str | None:
    """Returns the first digits of a known sha256, as infotext names networks; None if it is not known."""
    known = sha256_from_cache(filename, title, use_addnet_hash)
    return known and known[:length]


def _section(use_addnet_hash: bool) -> Any:
    return cache("hashes-addnet" if use_addnet_hash else "hashes")
