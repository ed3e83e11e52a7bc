"""state: puts extensions into their folder, cloned from an address, runs their install.py, and updates them."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from modules import errors, extensions, git_repo, launch_utils
from modules.extensions import Extension
from modules.paths_internal import data_path, extensions_dir

logger = logging.getLogger(__name__)

IMPOSSIBLE_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
CHECKS_AT_ONCE = 8


def normalized(address: str | None) -> str:
    """Returns an address without what may be written in two ways."""
    return (address or "").strip().rstrip("/").removesuffix(".git")


def name_from(address: str) -> str:
    """Returns the folder an extension gets that is cloned from an address and has no name of its own."""
    return normalized(address).replace("\\", "/").rpartition("/")[2].rpartition(":")[2]


def check_name(name: str) -> None:
    """Raises InvalidInput unless name can be that of a new folder in extensions/."""
    if not name or name.strip(". ") != name or IMPOSSIBLE_IN_NAMES.search(name):
        raise errors.InvalidInput(f"{name!r} cannot be the name of a folder", field="Local directory name")
    if os.path.exists(os.path.join(extensions_dir, name)) or name.lower() in extensions.loaded_extensions:
        message = f"There is an extension {name} already: give another name, or remove its folder in {extensions_dir}"
        raise errors.InvalidInput(message, field="Local directory name")


def with_address(address: str) -> Extension | None:
    """Returns the installed extension that comes from an address."""
    wanted = normalized(address)
    for extension in extensions.extensions:
        extension.read_info_from_repo()
    return next((x for x in extensions.extensions if x.remote and normalized(x.remote) == wanted), None)


def install(address: str, name: str = "", branch: str = "") -> str:
    """Clones an extension, runs its install.py and returns the path of its folder. It is loaded at the next start.

    name: of the folder, from the address by default. branch: the default one if not given. Raises InvalidInput for what
    cannot be cloned and for what is there already; nothing is left behind then.
    """
    address, name, branch = address.strip(), name.strip() or name_from(address), branch.strip()
    if not address:
        raise errors.InvalidInput("No URL is given", field="URL for extension's git repository")
    check_name(name)
    if (same := with_address(address)) is not None:
        message = f"{address} is installed already, as {same.name}"
        raise errors.InvalidInput(message, field="URL for extension's git repository")

    target = os.path.join(extensions_dir, name)
    os.makedirs(extensions_dir, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_path, prefix="tmp-clone-", ignore_cleanup_errors=True) as work:
        clone(address, os.path.join(work, name), branch)
        shutil.move(os.path.join(work, name), target)
    logger.info("installed extension %s from %s", name, address)
    launch_utils.run_extension_installer(target)
    extensions.list_extensions()
    return target


def clone(address: str, target: str, branch: str) -> None:
    """Clones an address. Raises InvalidInput with what git says when that fails."""
    try:
        git_repo.clone(address, target, branch)
    except FileNotFoundError:
        raise errors.InvalidInput("Installing needs the program git, which is not there") from None
    except subprocess.CalledProcessError as e:
        message = f"{address} cannot be cloned: {e.stderr.strip()}"
        raise errors.InvalidInput(message, field="URL for extension's git repository") from None


def check_updates(chosen: Iterable[Extension], tell: Callable[[str], object] = lambda name: None) -> None:
    """Asks the remotes of extensions for newer commits, several at a time. tell: called with each name that is done."""

    def check(extension: Extension) -> str:
        """Asks one remote; what is wrong with it stands in the status."""
        try:
            extension.check_updates()
        except (OSError, subprocess.CalledProcessError) as e:
            cause = (getattr(e, "stderr", "") or str(e)).strip().splitlines()
            extension.can_update, extension.status = False, f"error: {cause[-1] if cause else type(e).__name__}"
            logger.warning("%s: could not look for updates: %s", extension.name, extension.status)
        return extension.name

    with ThreadPoolExecutor(CHECKS_AT_ONCE, thread_name_prefix="check updates") as pool:
        for name in pool.map(check, chosen):
            tell(name)


def update(names: Iterable[str]) -> list[str]:
    """Moves extensions to the newest commit of their branch; local changes are lost. Returns what went wrong."""
    wanted, problems = set(names), []
    for extension in extensions.extensions:
        if extension.name not in wanted or extension.is_builtin:
            continue
        try:
            extension.fetch_and_reset_hard()
        except (OSError, subprocess.CalledProcessError) as e:
            errors.report(f"Could not update extension {extension.name}", exc_info=True)
            problems.append(f"{extension.name} is as it was: {(getattr(e, 'stderr', '') or str(e)).strip()}")
    return problems
