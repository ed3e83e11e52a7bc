"""base: small helpers about files and order. Knows no settings: what depends on one is a parameter."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from modules import whole_files
from modules.paths_internal import cwd, script_path


def natural_sort_key(s: str, regex: re.Pattern[str] = re.compile("([0-9]+)")) -> list[str | int]:
    """Returns a sort key under which "a2" comes before "a10", without regard to case."""
    return [int(text) if text.isdigit() else text.lower() for text in regex.split(s)]


def listfiles(dirname: str) -> list[str]:
    """Returns the paths of the files directly in dirname, in natural order, hidden ones left out."""
    names = sorted(os.listdir(dirname), key=natural_sort_key)
    paths = [os.path.join(dirname, name) for name in names if not name.startswith(".")]
    return [path for path in paths if os.path.isfile(path)]


def sendable(text: str) -> str:
    """Returns a text with question marks for halves of surrogate pairs, which JSON can hold and no encoding can."""
    return text.encode("utf8", errors="replace").decode("utf8")


def html_path(filename: str) -> str:
    """Returns the path of a file of the folder html."""
    return os.path.join(script_path, "html", filename)


def html(filename: str) -> str:
    """Returns the text of a file of the html folder; empty if it is not there."""
    path = html_path(filename)
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf8") as file:
        return file.read()


def json_in_script(text: str) -> str:
    """Returns JSON in a form that can stand in a script element: no string in it can end the element."""
    return text.replace("<", "\\u003c")


def walk_files(
    path: str, allowed_extensions: Iterable[str] | None = None, *, include_hidden: bool = True
) -> Iterator[str]:
    """Yields the paths of the files under path, folder by folder in natural order, links followed.

    allowed_extensions: endings to keep, with their dot, in lower case.
    include_hidden: enter folders whose name starts with a dot.
    """
    endings = None if allowed_extensions is None else set(allowed_extensions)
    for root, _, names in walk_folders(path):
        if not include_hidden and any(
            part.startswith(".") for part in os.path.relpath(root, path).split(os.sep) if part != "."
        ):
            continue
        for name in sorted(names, key=natural_sort_key):
            if endings is None or os.path.splitext(name)[1].lower() in endings:
                yield os.path.join(root, name)


def walk_folders(top: str) -> list[tuple[str, list[str], list[str]]]:
    """Returns (path, names of folders, names of files) of a folder and those below it, in natural order of the paths.

    Links are followed, except those that lead back to a folder on the way to them. Empty if there is no such folder.
    """
    found = []
    for root, folders, names in os.walk(top, followlinks=True):
        folders[:] = [name for name in folders if not leads_back(os.path.join(root, name), top)]
        found.append((root, folders, names))
    return sorted(found, key=lambda entry: natural_sort_key(entry[0]))


def leads_back(path: str, top: str) -> bool:
    """Tells whether a path is a link to one of the folders on the way to it from top."""
    if not os.path.islink(path):
        return False
    target = os.path.realpath(path)
    folder = os.path.dirname(path)
    while len(folder) > len(top) and os.path.realpath(folder) != target:
        folder = os.path.dirname(folder)
    return os.path.realpath(folder) == target


def truncate_path(target_path: str, base_path: str = cwd) -> str:
    """Returns target_path relative to base_path if it lies under it, else absolute."""
    target, base = os.path.abspath(target_path), os.path.abspath(base_path)
    try:
        is_under_base = os.path.commonpath([target, base]) == base
    except ValueError:  # on Windows: two drives
        is_under_base = False
    return os.path.relpath(target, base) if is_under_base else target


class FileEntry(NamedTuple):
    """A file as its folder lists it; times in seconds."""

    name: str
    mtime: float
    ctime: float


class FileStamp(NamedTuple):
    """What a file is known by that was read before: time of its last change (s) and size in bytes."""

    mtime: float
    size: int

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> FileStamp:
        """Returns that of a file as it is now. Raises OSError."""
        stat = os.stat(path)
        return cls(stat.st_mtime, stat.st_size)

    def is_in(self, entry: Mapping[str, Any] | None) -> bool:
        """Says whether an entry of the cache is about this file; those of older versions have no size."""
        return entry is not None and self == (entry["mtime"], entry.get("size", self.size))


class MassFileListerCachedDir:
    """The listing of one folder: entries by exact name, and by name in lower case."""

    def __init__(self, dirname: str):
        self.dirname = dirname
        self.files_cased: dict[str, FileEntry] = {}
        self.files: dict[str, FileEntry] = {}
        with suppress(OSError), os.scandir(dirname) as entries:
            for entry in entries:
                with suppress(OSError):  # a link to nothing, or a file that has gone meanwhile
                    self._add(entry.name, entry.stat())

    def update_entry(self, filename: str) -> None:
        """Reads one file of the folder again; one that is gone is dropped."""
        try:
            self._add(filename, os.stat(os.path.join(self.dirname, filename)))
        except OSError:
            self.files_cased.pop(filename, None)
            self.files.pop(filename.lower(), None)

    def _add(self, name: str, stat: os.stat_result) -> None:
        entry = FileEntry(name, stat.st_mtime, stat.st_ctime)
        self.files_cased[name] = entry
        self.files[name.lower()] = entry


class MassFileLister:
    """Answers questions about many files with one listing per folder instead of one system call per file."""

    def __init__(self) -> None:
        self.cached_dirs: dict[str, MassFileListerCachedDir] = {}

    def find(self, path: str) -> FileEntry | None:
        """Returns the entry of path, or None if there is no such file; case counts where it counts on the disk."""
        dirname, filename = os.path.split(path)
        listing = self._listing(dirname)
        entry = listing.files_cased.get(filename)
        if entry is not None:
            return entry
        entry = listing.files.get(filename.lower())
        return entry if entry is not None and os.path.exists(path) else None

    def exists(self, path: str) -> bool:
        """Says whether there is a file."""
        return self.find(path) is not None

    def mctime(self, path: str) -> tuple[float, float]:
        """Returns the times of the last change of content and of status; zeros if there is no such file."""
        entry = self.find(path)
        return (0, 0) if entry is None else (entry.mtime, entry.ctime)

    def reset(self) -> None:
        """Forgets all listings."""
        self.cached_dirs.clear()

    def update_file_entry(self, path: str) -> None:
        """Takes note of a file that was written after its folder was listed."""
        dirname, filename = os.path.split(path)
        if dirname in self.cached_dirs:
            self.cached_dirs[dirname].update_entry(filename)

    def _listing(self, dirname: str) -> MassFileListerCachedDir:
        if dirname not in self.cached_dirs:
            self.cached_dirs[dirname] = MassFileListerCachedDir(dirname)
        return self.cached_dirs[dirname]


def topological_sort(dependencies: Mapping[str, Iterable[str]]) -> list[str]:
    """Returns the names of dependencies ordered so that each comes after those it depends on.

    dependencies: name -> names it depends on. Unknown names are ignored; a cycle is cut where it closes.
    """
    visited: set[str] = set()
    result: list[str] = []

    def visit(name: str) -> None:
        """Puts a node after those it depends on."""
        visited.add(name)
        for dependency in dependencies[name]:
            if dependency in dependencies and dependency not in visited:
                visit(dependency)
        result.append(name)

    for name in dependencies:
        if name not in visited:
            visit(name)
    return result


def write_text_atomically(
    path: str, text: str, *, encoding: str = "utf8", newline: str | None = None, flush: bool = True
) -> None:
    """Writes a text file so that, whatever happens, readers see the old text or the new one and never a part of it.

    Links are followed; the permissions of an existing file are kept. newline: as in open(). flush: waits until it is on
    the disk, where it then is even if the computer stops.
    """
    path = os.path.realpath(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    with whole_files.replacing(path, temporary, flush) as binary:
        if os.path.exists(path):
            shutil.copymode(path, temporary)
        file = io.TextIOWrapper(binary, encoding=encoding, newline=newline)
        file.write(text)
        file.detach()


def open_folder(path: str) -> None:
    """Shows a folder in the file manager of the computer the program runs on.

    Raises FileNotFoundError or NotADirectoryError if there is no such folder.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"folder {path} does not exist: it is made when the first picture is saved there")
    if not os.path.isdir(path):
        raise NotADirectoryError(f"{path} is not a folder")

    path = os.path.normpath(path)
    if sys.platform == "win32":
        os.startfile(path)
    elif sys.platform == "darwin":
        subprocess.Popen(["open", path])
    elif "microsoft-standard-WSL2" in os.uname().release:
        subprocess.Popen(["explorer.exe", subprocess.check_output(["wslpath", "-w", path]).strip()])
    else:
        subprocess.Popen(["xdg-open", path])
