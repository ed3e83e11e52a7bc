"""engine: weights of the small networks that approximate a VAE: where they lie, and getting them.

A preview never waits for a download: until the file is there, and for good where there is no network, it is made
without.
"""

from __future__ import annotations

import functools
import logging
import os
import threading

from modules import errors, paths, upscaler_files

logger = logging.getLogger(__name__)


def find(folder: str, url: str) -> str | None:
    """Returns the path of the file of a URL, None if it is not there.

    It may lie in a folder of the models folder, or of the program's own.
    """
    name = os.path.basename(url)
    for models in (paths.models_path, os.path.join(paths.script_path, "models")):
        path = os.path.join(models, folder, name)
        if os.path.exists(path):
            return path
    return None


def get(folder: str, url: str) -> str:
    """Returns what find does, but downloads what is not there. Raises NotFound if that fails."""
    found = find(folder, url)
    if found:
        return found
    directory = os.path.join(paths.models_path, folder)
    if is_offline():
        raise errors.NotFound(
            f"{os.path.join(directory, os.path.basename(url))} is not there and HF_HUB_OFFLINE forbids to download it: "
            f"get it from {url}"
        )
    return upscaler_files.load_file_from_url(url, model_dir=directory)


def is_offline() -> bool:
    """Returns whether the environment forbids downloads."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def find_or_fetch(folder: str, url: str) -> str | None:
    """Returns what find does, but the first time a file is missing starts its download in the background."""
    found = find(folder, url)
    if found is None:
        fetch_once(folder, url)
    return found


@functools.cache
def fetch_once(folder: str, url: str) -> None:
    """Starts downloading a file, once; a failure is one line in the log."""

    def fetch() -> None:
        """Downloads the file."""
        try:
            get(folder, url)
        except errors.NotFound as e:
            logger.warning("previews are rough: %s", e)

    if is_offline():
        fetch()
    else:
        threading.Thread(target=fetch, name=f"download {os.path.basename(url)}", daemon=True).start()
