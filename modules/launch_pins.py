"""base: keeps what extensions install from changing the packages the program is made for.

pins: name of a package -> the version of the program, as the lock file has them.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

FILE_OPTIONS = ("-r", "--requirement")


def canonical(name: str) -> str:
    """Returns the name of a package as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@contextmanager
def constraints(pins: Mapping[str, str]) -> Iterator[str]:
    """Yields the path of a file that holds pip to the pins, for its variable PIP_CONSTRAINT."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "constraints.txt")
        with open(path, "w", encoding="utf8") as file:
            file.writelines(f"{name}=={version}\n" for name, version in pins.items())
        yield path


def conflicts(command: str, pins: Mapping[str, str]) -> list[str]:
    """Returns what a pip command asks for that contradicts the pins, one sentence each."""
    from packaging.requirements import InvalidRequirement, Requirement

    held = {canonical(name): version for name, version in pins.items()}
    found = []
    for text in requirements_in(command):
        try:
            wanted = Requirement(text)
        except InvalidRequirement:  # an option, an address or a folder
            continue
        version = held.get(canonical(wanted.name))
        applies = wanted.marker is None or wanted.marker.evaluate()
        if version is not None and applies and not wanted.specifier.contains(version, prereleases=True):
            found.append(f"{wanted.name}{wanted.specifier} is asked for, but the program needs {wanted.name} {version}")
    return found


def requirements_in(command: str) -> Iterator[str]:
    """Yields what may be a requirement in the arguments of pip, those in files of requirements included."""
    words = shlex.split(command.replace("\\", "/"))
    if "install" not in words:
        return
    for option, word in zip(["", *words], words, strict=False):
        if option in FILE_OPTIONS and os.path.isfile(word):
            with open(word, encoding="utf8", errors="replace") as file:
                yield from (line.partition("#")[0].strip() for line in file)
        elif not word.startswith("-"):
            yield word
