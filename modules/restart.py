"""base: ends the program, or starts it anew."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from modules.paths_internal import script_path

MARKER = Path(script_path) / "tmp" / "restart"


def is_restartable() -> bool:
    """Says whether restart_program works: under a supervisor that says so in SD_WEBUI_RESTART, or where exec exists."""
    return bool(os.environ.get("SD_WEBUI_RESTART")) or os.name == "posix"


def restart_program() -> NoReturn:
    """Starts the program anew with the same command line.

    A supervisor looks for the file tmp/restart after the program has ended; without one the process replaces itself.
    """
    if os.environ.get("SD_WEBUI_RESTART"):
        MARKER.parent.mkdir(exist_ok=True)
        MARKER.touch()
        stop_program()

    os.environ["SD_WEBUI_RESTARTING"] = "1"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def stop_program() -> NoReturn:
    """Ends the process at once, threads included."""
    os._exit(0)


def note_restart() -> None:
    """Removes a supervisor's marker at the start, and remembers that the browser has the page open already."""
    if MARKER.exists():
        MARKER.unlink()
        os.environ["SD_WEBUI_RESTARTING"] = "1"
