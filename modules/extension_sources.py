"""pure: from where an extension lies, a folder or an address for git, to the report about it."""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from pathlib import Path

from modules import errors, extension_check, git_repo, launch_utils, paths_internal
from modules.code_names import Library
from modules.extension_check import ExtensionReport

ADDRESSES = ("https://", "http://", "ssh://", "git://", "git@", "file://")
CLONE = ("clone", "--quiet", "--depth", "1", "--no-tags", "-c", "core.symlinks=false")
"""Links become files that hold their target: what is read is what was cloned, and no file of this computer."""


def is_address(source: str) -> bool:
    """Tells whether a source is to be cloned."""
    return source.startswith(ADDRESSES)


def installed() -> list[Path]:
    """Returns the folders of the user's extensions."""
    folder = Path(paths_internal.extensions_dir)
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def report(source: str, name: str = "", branch: str = "") -> ExtensionReport:
    """Returns the report about an extension; where one of its name is installed, with what changes against that.

    source: a folder, or an address that git can clone, with its scheme. name: of the folder it is installed in, where
    that is not the address's. branch: of an address, where it is not the default one. Raises InvalidInput for anything
    else, and for what git cannot clone.
    """
    program = extension_check.program_library(Path(paths_internal.script_path))
    if not is_address(source):
        folder = Path(source).expanduser().resolve()
        if not folder.is_dir():
            message = f"{source}: there is no such folder; give the folder of an extension or an https:// address"
            raise errors.InvalidInput(message, field="source")
        return _compared(folder, program)
    name = name or source.rstrip("/").rpartition("/")[2].removesuffix(".git").strip(".") or "extension"
    chosen = ["--branch", branch] if branch else []
    with tempfile.TemporaryDirectory() as work:
        try:
            git_repo.run_git(work, *CLONE, *chosen, "--", source, name)
        except FileNotFoundError:
            raise errors.InvalidInput("Cloning needs git, which is not installed", field="source") from None
        except subprocess.CalledProcessError as e:
            raise errors.InvalidInput(f"{source} cannot be cloned: {e.stderr.strip()}", field="source") from None
        return _compared(Path(work) / name, program)


def _compared(folder: Path, program: Library) -> ExtensionReport:
    pins, others = launch_utils.pinned(), installed()
    is_beside = Path(paths_internal.extensions_dir).parent == Path(paths_internal.script_path)
    found = extension_check.check(folder, program, pins, others, is_beside_program=is_beside)
    before = next((other for other in others if other.name == folder.name and other.resolve() != folder), None)
    if before is None:
        return found
    now = extension_check.check(before, program, pins, is_beside_program=is_beside)
    return dataclasses.replace(found, changes=extension_check.changes(now, found))
