"""face: where images that the page shows come from: the file a job saved, else a PNG with its infotext in the
temporary directory.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import gradio as gr
from gradio import processing_utils
from gradio import utils as gradio_utils
from PIL import Image

from modules import patches, shared, ui_files, whole_files

FOLDER_PREFIX = "webui-page-"
LOCK_NAME = ".lock"

own_folder: list[str] = []
"""The folder of this run's uploads, once the page is built."""

SERVED_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif"}


def register_tmp_file(gradio: Any, filename: str) -> None:
    """Lets the page fetch an image from where it lies, without a copy in Gradio's cache. `gradio` is the app; all
    share one list.
    """
    if Path(filename).suffix.lower() in SERVED_SUFFIXES and not gradio_utils.is_static_file(os.path.abspath(filename)):
        gr.set_static_paths([os.path.abspath(filename)])


def check_tmp_file(gradio: Any, filename: str) -> bool:
    """Says whether the page may fetch a file from where it lies."""
    return ui_files.find(filename) is not None


def save_pil_to_file(pil_image: Image.Image, cache_dir: str, name: str = "image", format: str = "png") -> str:
    """Stands in for Gradio's `save_pil_to_cache`: the saved file if there is one, so that what is downloaded is what
    was saved.
    """
    already_saved_as = getattr(pil_image, "already_saved_as", None)
    if already_saved_as and os.path.isfile(already_saved_as):
        register_tmp_file(None, already_saved_as)
        return os.path.abspath(already_saved_as)
    path = cached(pil_image, shared.opts.temp_dir or cache_dir, name)
    if shared.opts.temp_dir:
        register_tmp_file(None, path)
    return path


def cached(image: Image.Image, cache_dir: str, name: str) -> str:
    """Returns the PNG of an image in a folder named after its content, written once: Gradio writes it again for each
    event that shows the same image, while a browser may be reading it.
    """
    content = processing_utils.encode_pil_to_bytes(image, "png")
    path = Path(cache_dir, processing_utils.hash_bytes(content), f"{name}.png").resolve()
    if not path.exists():
        path.parent.mkdir(exist_ok=True, parents=True)
        unfinished = path.with_name(f"{name}.{uuid.uuid4().hex[:8]}.tmp")
        unfinished.write_bytes(content)
        unfinished.replace(path)
    return str(path)


def install_ui_tempdir_override() -> None:
    """Has Gradio show images through `save_pil_to_file`."""
    if processing_utils.save_pil_to_cache is not save_pil_to_file:
        patches.patch(__name__, processing_utils, "save_pil_to_cache", save_pil_to_file)


def use_own_folder() -> str:
    """Has Gradio keep uploads and other files of the page in a folder of this run, which goes when the program ends;
    folders of runs that were killed go now. Returns the folder; a page that is built anew goes on with it.
    """
    folder = own_folder[0] if own_folder else ""
    if not os.path.isdir(folder):
        parent = gradio_utils.get_upload_folder()
        remove_left_folders(parent)
        os.makedirs(parent, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=parent)
        held = open(os.path.join(folder, LOCK_NAME), "xb")  # noqa: SIM115  (held until the program ends)
        whole_files.lock(held)
        atexit.register(end_folder, folder, held)
        own_folder[:] = [folder]
    os.environ["GRADIO_TEMP_DIR"] = folder
    return folder


def end_folder(folder: str, held: BinaryIO) -> None:
    """Removes the folder of a run."""
    held.close()
    shutil.rmtree(folder, ignore_errors=True)


def remove_left_folders(parent: str) -> list[str]:
    """Removes the folders of runs that have ended without doing so; returns them. Those of other programs that are
    running hold their lock.
    """
    removed = []
    for folder in Path(parent).glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            is_young = time.time() - folder.stat().st_mtime < whole_files.YOUNG_SECONDS
            with open(folder / LOCK_NAME, "r+b") as held:
                is_left = not is_young and not folder.is_symlink() and whole_files.lock(held)
            if is_left:
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(str(folder))
    return removed


def is_upload(path: str) -> bool:
    """Says whether a value of the page is the path of an uploaded file, which goes when the program ends."""
    return bool(own_folder) and path.startswith(own_folder[0] + os.sep) and os.path.isfile(path)


def on_tmpdir_changed() -> None:
    """Makes the directory of the setting temp_dir. The page may fetch the images written to it, and nothing else."""
    if shared.opts.temp_dir:
        os.makedirs(shared.opts.temp_dir, exist_ok=True)


def cleanup_tmpdr() -> None:
    """Removes the PNG files of earlier runs from the directory of the setting temp_dir."""
    if not shared.opts.temp_dir or not os.path.isdir(shared.opts.temp_dir):
        return
    for path in Path(shared.opts.temp_dir).rglob("*.png"):
        path.unlink()


def is_gradio_temp_path(path: str) -> bool:
    """Says whether a file lies in a temporary directory of the page."""
    directories = [
        gradio_utils.get_upload_folder(),
        os.path.join(tempfile.gettempdir(), "gradio"),
        shared.opts.temp_dir,
    ]
    return any(directory and Path(directory).resolve() in Path(path).resolve().parents for directory in directories)


original_save_pil_to_cache = processing_utils.save_pil_to_cache
