"""base: makes the program's virtual environment and continues inside it. Stdlib only."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn

from modules.paths_internal import script_path


def is_inside() -> bool:
    """Says whether this Python is in a virtual environment: one of venv, or one of conda other than its base."""
    if sys.prefix != sys.base_prefix:
        return True
    conda_prefix = os.environ.get("CONDA_PREFIX")
    return conda_prefix == sys.prefix and os.environ.get("CONDA_DEFAULT_ENV") != "base"


def folder() -> str | None:
    """Returns where the virtual environment belongs; None if venv_dir=- or SKIP_VENV=1 say there shall be none."""
    name = os.environ.get("venv_dir") or os.environ.get("VENV_DIR") or "venv"  # noqa: SIM112  # as webui.sh spells it
    if name == "-" or os.environ.get("SKIP_VENV") == "1":
        return None
    return os.path.join(script_path, name)


def python_of(venv_folder: str) -> str:
    """Returns the path of the Python of a virtual environment."""
    parts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(venv_folder, *parts)


def create(venv_folder: str) -> None:
    """Makes a virtual environment with pip, replacing a broken one. Raises RuntimeError if this Python cannot."""
    print(f"Creating a virtual environment in {venv_folder} with Python {sys.version.split()[0]}", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", venv_folder])
    if made.returncode != 0:
        raise RuntimeError(
            "Could not create the virtual environment. On Debian and Ubuntu install the package python3-venv first; "
            "to use this Python as it is, start with --skip-prepare-environment or with venv_dir=- in the environment."
        )


def enter(venv_folder: str) -> NoReturn:
    """Starts this program again with the Python of a virtual environment, which is made if it is not there."""
    python = python_of(venv_folder)
    if not os.path.exists(python):
        create(venv_folder)

    # The command line as it was typed: sys.argv holds COMMANDLINE_ARGS by now, which the new process adds itself.
    command = [python, *sys.orig_argv[1:]]
    sys.stdout.flush()
    if os.name == "nt":  # where exec would return to the prompt while the program still runs
        sys.exit(subprocess.run(command).returncode)
    os.execv(python, command)
