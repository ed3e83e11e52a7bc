"""base: what to do after a start that died while it loaded an extension: the next one leaves that extension out.

While extensions are loaded a file holds the name of the one whose code runs, locked by the process that does it. A
start that finds such a file, and no lock on it, knows whom the last one died of.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import BinaryIO

from modules import settings_file, util, whole_files
from modules.cache import cache_dir
from modules.paths_internal import extensions_builtin_dir, extensions_dir

logger = logging.getLogger(__name__)

MARKER = os.path.join(cache_dir, "loading-extension")
LEFT_OUT = os.path.join(cache_dir, "left-out-extensions.json")


class Marker:
    """The file that names the extension whose code runs during a start."""

    def __init__(self, path: str):
        self.path = path
        self._file: BinaryIO | None = None
        self._name = ""

    def begin(self) -> None:
        """Begins to note whose code runs. Without a place for the file, or beside another start, nothing is noted."""
        with suppress(OSError):
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            file = open(self.path, "ab", buffering=0)  # noqa: SIM115  # stays open, for its lock
            if not whole_files.lock(file):
                file.close()
                return
            file.truncate(0)
            self._file = file
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, self._ended_from_outside)

    def note(self, script: str) -> None:
        """Notes that code of a file is about to run."""
        name = extension_of(script)
        if self._file is not None and name != self._name:
            self._name = name
            with suppress(OSError):
                self._file.truncate(0)
                self._file.write(name.encode())

    def end(self) -> None:
        """Removes the file: everything is loaded."""
        if self._file is None:
            return
        with suppress(OSError):
            self._file.close()
            os.unlink(self.path)
        self._file = None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _ended_from_outside(self, number: int, frame: FrameType | None) -> None:
        """Ends the program as it would have without us: whoever ends it has not been waiting for an extension."""
        self.end()
        os.kill(os.getpid(), number)

    def read(self) -> str:
        """Returns the extension that the last start died of; empty if it did not, or if another start is under way."""
        with suppress(OSError), open(self.path, "rb") as file:
            return file.read().decode(errors="replace") if whole_files.lock(file) else ""
        return ""


marker = Marker(MARKER)


def extension_of(path: str) -> str:
    """Returns the folder name of the extension that a file belongs to; empty for files of the program."""
    for folder in (extensions_dir, extensions_builtin_dir):
        if path.startswith(folder + os.sep):
            return path[len(folder) + 1 :].split(os.sep)[0]
    return ""


def recover(settings_path: str) -> str:
    """Leaves the extension out that the last start died of, and returns its name; empty if there is none.

    At a terminal the user is asked. The setting disabled_extensions leaves it out, until the user turns it on again.
    """
    name = marker.read()
    if not name:
        return ""
    with suppress(OSError):
        os.unlink(marker.path)
    said = f"The last start died while it loaded the extension {name}"
    if is_interactive() and not wants_to_leave_out(said):
        return ""
    if not disable(settings_path, name):
        logger.error("%s, and %s cannot be written: --disable-extra-extensions leaves all out", said, settings_path)
        return ""
    note_left_out(name, said)
    rule = "=" * 60
    logger.error("\n%s\n%s: it is left out.\nThe tab Extensions turns it on again.\n%s", rule, said, rule)
    return name


def is_interactive() -> bool:
    """Says whether there is a user at a terminal who can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def wants_to_leave_out(said: str) -> bool:
    """Asks the user; no answer is yes."""
    try:
        answer = input(f"{said}. Leave it out this time, and until it is turned on again? [Y/n] ")
    except EOFError:
        return True
    return not answer.strip().lower().startswith("n")


def disable(settings_path: str, name: str) -> bool:
    """Adds an extension to those that the settings disable; False when they cannot be read or written."""
    settings, problem = settings_file.read(settings_path)
    if problem:
        return False
    disabled = settings.get("disabled_extensions")
    settings["disabled_extensions"] = sorted({*(disabled if isinstance(disabled, list) else []), name})
    try:
        util.write_text_atomically(settings_path, json.dumps(settings, indent=4, ensure_ascii=False))
    except OSError:
        return False
    return True


def left_out() -> dict[str, str]:
    """Returns name -> reason of the extensions that were left out and not turned on again since."""
    return {str(name): str(reason) for name, reason in settings_file.read(LEFT_OUT)[0].items()}


def note_left_out(name: str, reason: str) -> None:
    """Remembers that an extension was left out, so that the tab Extensions can say why."""
    write_left_out(left_out() | {name: reason})


def forget_left_out(enabled: set[str]) -> None:
    """Forgets those that the user has turned on again."""
    known = left_out()
    if enabled & known.keys():
        write_left_out({name: reason for name, reason in known.items() if name not in enabled})


def write_left_out(known: dict[str, str]) -> None:
    """Writes what `left_out` reads; where that cannot be written nobody is told."""
    with suppress(OSError):
        os.makedirs(os.path.dirname(LEFT_OUT), exist_ok=True)
        util.write_text_atomically(LEFT_OUT, json.dumps(known, indent=4))
