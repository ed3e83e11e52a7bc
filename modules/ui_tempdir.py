"""face: where images that the page shows come from: the file a job saved, else a PNG with its infotext in the
temporary directory.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio import utils as gradio_utils
from PIL import Image

from modules import patches, shared, ui_files

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
    path = original_save_pil_to_cache(pil_image, shared.opts.temp_dir or cache_dir, name, "png")
    if shared.opts.temp_dir:
        register_tmp_file(None, path)
    return path


def install_ui_tempdir_override() -> None:
    """Has Gradio show images through `save_pil_to_file`."""
    if processing_utils.save_pil_to_cache is not save_pil_to_file:
        patches.patch(__name__, processing_utils, "save_pil_to_cache", save_pil_to_file)


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
