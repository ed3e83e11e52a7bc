"""base: files that appear whole or not at all, under names that nobody else takes; and what a killed program has left
of them.

A file is written beside its place and renamed once it is on the disk. Whoever writes holds a lock on it, so that the
start of another program can tell what is still being written from what nobody will finish.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]

UNFINISHED = re.compile(r"tmp-[0-9a-f]{32}\.tmp|.+\.(json|csv|txt)\.[0-9a-f]{8}\.tmp")
"""Names of files that are being written, of any size."""

RESERVATION = re.compile(r"(.*-)?\d{4,}\.tmp|.+\.(png|jpe?g|webp|avif|gif|bmp|tiff?|jxl|heif)\.tmp")
"""Names of empty files that keep a number, or a name, for one that is being written."""

YOUNG_SECONDS = 2
"""Between the making of a file and its lock; younger ones are left alone."""


def lock(file: BinaryIO) -> bool:
    """Marks an open file as being written, until it is closed; False if somebody else does so."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that has no locks
        return True
    return True


@contextmanager
def replacing(path: str, temporary: str, flush: bool = True) -> Iterator[BinaryIO]:
    """Yields the new file temporary, which becomes path, flushed to the disk unless that is not wanted, when the block
    ends; nothing of it is left when the block fails. The folder has to exist.
    """
    try:
        with open(temporary, "xb") as file:
            lock(file)
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def unfinished_name(path: str) -> str:
    """Returns a name, in the folder of path, for the file that is to become it."""
    return os.path.join(os.path.dirname(path), f"tmp-{uuid.uuid4().hex}.tmp")


@contextmanager
def claimed(path: str) -> Iterator[bool]:
    """Yields whether path could be created, empty; it then stays until the block ends. No two callers get True."""
    try:
        file = open(path, "xb")  # noqa: SIM115  (closed below, and only if there is one)
    except FileExistsError:
        yield False
        return
    with file:
        lock(file)
        try:
            yield True
        finally:
            with suppress(OSError):
                file.close()
                os.unlink(path)


def append(path: str, lines: bytes) -> None:
    """Adds whole lines to a file in one piece, and begins a new line where somebody else has left half a one."""
    with open(path, "ab+", buffering=0) as file:
        is_cut = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        file.write((os.linesep.encode() if is_cut else b"") + lines)
        os.fsync(file.fileno())


def remove_abandoned(folder: str, *, recursive: bool = True) -> list[str]:
    """Removes what killed programs have left in a folder of files that were never finished; returns their paths."""
    return [path for path in _candidates(folder, recursive) if _remove_if_abandoned(path)]


def _candidates(folder: str, recursive: bool) -> Iterable[str]:
    for root, folders, names in os.walk(folder):
        if not recursive:
            folders.clear()
        for name in names:
            if name.endswith(".tmp") and (UNFINISHED.fullmatch(name) or RESERVATION.fullmatch(name)):
                yield os.path.join(root, name)


def _remove_if_abandoned(path: str) -> bool:
    try:
        found = os.lstat(path)
        is_ours = UNFINISHED.fullmatch(os.path.basename(path)) or found.st_size == 0
        if not is_ours or time.time() - found.st_mtime < YOUNG_SECONDS or os.path.islink(path):
            return False
        with open(path, "r+b") as file:
            if not lock(file):
                return False
        os.unlink(path)
    except OSError:  # gone meanwhile, open on Windows, or not ours to touch
        return False
    return True
