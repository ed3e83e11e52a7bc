"""job: the folder of what jobs leave that is nobody's file yet: images that were not saved, large requests and files
that were uploaded for them.

One folder a job, by its number. Cleared by its own rule, the oldest first; the user's files are never in it.
"""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from modules import shared
from modules.options import Options, OptionValues

MEGABYTE = 1_000_000
DAY = 24 * 60 * 60
THUMBNAIL = 192
"""Longest side of a small copy, in pixels."""


@dataclass(frozen=True)
class SpoolSettings(OptionValues):
    """How much is kept, in megabytes, and for how long, in days; 0 for no limit."""

    jobs_spool_size: int
    jobs_spool_days: int


class Spool:
    """A folder of files by job number. Files appear whole or not at all."""

    def __init__(self, folder: str, opts: Options | None = None):
        self.folder = folder
        self._opts = opts or shared.opts
        self._guard = threading.Lock()
        self._size: int | None = None

    def put(self, number: int, name: str, content: bytes) -> str:
        """Writes a file of a job and returns its path. Raises OSError."""
        folder = os.path.join(self.folder, str(number))
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, name)
        # Not flushed to the disk: it has to survive the end of this process, not a power cut, and costs every job.
        with open(f"{path}.tmp", "wb") as file:
            file.write(content)
        os.replace(f"{path}.tmp", path)
        with self._guard:
            if self._size is not None:
                self._size += len(content)
        return path

    def keep(self, number: int, name: str, file: str) -> str:
        """Keeps a file that a job works on, which nobody writes to any more, and returns its path. Raises OSError.

        name: may be below folders of its own.
        """
        path = self.path(number, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.link(file, path)
        except OSError:  # on another disk, or one without links
            shutil.copyfile(file, f"{path}.tmp")
            os.replace(f"{path}.tmp", path)
        with self._guard:
            if self._size is not None:
                self._size += os.path.getsize(path)
        return path

    def path(self, number: int, name: str) -> str:
        """Returns where a file of a job is, if it is there."""
        return os.path.join(self.folder, str(number), name)

    def thumbnail(self, number: int, place: int, file: str) -> str:
        """Returns the path of a small copy of an image of a job, made once. Raises OSError."""
        name = f"{place}.thumbnail.webp"
        path = os.path.join(self.folder, str(number), name)
        if not os.path.isfile(path):
            content = io.BytesIO()
            with Image.open(file) as image:
                image.thumbnail((THUMBNAIL, THUMBNAIL))
                image.convert("RGB").save(content, "WEBP", quality=80)
            self.put(number, name, content.getvalue())
        return path

    def read(self, number: int, name: str) -> bytes | None:
        """Returns the content of a file, None if it is gone."""
        try:
            with open(self.path(number, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def remove(self, number: int) -> None:
        """Deletes all files of a job."""
        folder = os.path.join(self.folder, str(number))
        size = _size_of(folder)
        shutil.rmtree(folder, ignore_errors=True)
        with self._guard:
            if self._size is not None:
                self._size -= size

    def tidy(self, number: int, keep: Collection[str]) -> None:
        """Deletes the files of a job but those and folders of some names: what a killed program has left half written,
        or never told anybody of.
        """
        with suppress(FileNotFoundError):
            for entry in list(os.scandir(os.path.join(self.folder, str(number)))):
                if entry.name in keep:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)

    def numbers(self) -> list[int]:
        """Returns the numbers of the jobs that have files, in order."""
        with suppress(FileNotFoundError):
            return sorted(int(entry.name) for entry in os.scandir(self.folder) if entry.name.isdecimal())
        return []

    def clear(self, keep: Collection[int] = ()) -> list[int]:
        """Deletes what the settings no longer allow, the oldest first, and returns the numbers of the jobs.

        keep: numbers of jobs that are not over, which lose nothing.
        """
        settings = SpoolSettings.from_opts(self._opts)
        limit = settings.jobs_spool_size * MEGABYTE or float("inf")
        before = time.time() - settings.jobs_spool_days * DAY if settings.jobs_spool_days else 0.0
        if self.size() <= limit and not before:
            return []
        removed = []
        for number in self.numbers():
            if number in keep:
                continue
            if self.size() <= limit and self._changed(number) >= before:
                break
            self.remove(number)
            removed.append(number)
        return removed

    def size(self) -> int:
        """Returns the bytes of all files."""
        if self._size is None:
            size = sum(_size_of(os.path.join(self.folder, str(number))) for number in self.numbers())
            with self._guard:
                self._size = size
        return self._size

    def _changed(self, number: int) -> float:
        with suppress(FileNotFoundError):
            return os.stat(os.path.join(self.folder, str(number))).st_mtime
        return 0.0


def _size_of(folder: str) -> int:
    with suppress(FileNotFoundError):
        return sum(_size_of(entry.path) if entry.is_dir() else entry.stat().st_size for entry in os.scandir(folder))
    return 0
