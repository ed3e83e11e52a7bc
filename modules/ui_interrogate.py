"""face: the two buttons of img2img that describe an image in words, and with which a batch gets its text files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from modules import call_queue, deepbooru, errors, images, shared
from modules.img2img import MODES
from modules.ui_form import Form
from modules.ui_toprow import Toprow

Describe = Callable[[Image.Image], str]

IMAGES = ("init_img", "sketch", "init_img_with_mask", "inpaint_color_sketch", "init_img_inpaint")
"""The images of the modes before the batch, by position."""


def interrogate(image: Image.Image) -> str:
    """Returns a sentence about an image, then words (CLIP)."""
    return shared.interrogator.interrogate(image.convert("RGB"))


def interrogate_deepbooru(image: Image.Image) -> str:
    """Tags of an image (DeepDanbooru)."""
    return deepbooru.model.tag(image)


def process_interrogate(
    interrogation_function: Describe, mode: int, ii_input_dir: str, ii_output_dir: str, *ii_singles: Any
) -> Any:
    """Returns the description of the image of the chosen mode; for the batch text files are written and the prompt
    stays.

    ii_singles: the images of the modes, in order; canvases give {"image": ...}. Raises InvalidInput without an
    image.
    """
    if MODES[mode] == "batch":
        describe_directory(interrogation_function, ii_input_dir, ii_output_dir or ii_input_dir)
        return gr.update()
    image = ii_singles[mode]
    image = image["image"] if isinstance(image, dict) else image
    if image is None:
        raise errors.InvalidInput("There is no picture to describe: add one above.", field="image")
    return interrogation_function(image)


def describe_directory(describe: Describe, input_dir: str, output_dir: str) -> None:
    """Adds the description of every image of a directory to "<stem>.txt" in another."""
    if shared.cmd_opts.hide_ui_dir_config:
        raise errors.InvalidInput("Batch from a directory is switched off here (--hide-ui-dir-config)", field="mode")
    if not os.path.isdir(input_dir):
        raise errors.InvalidInput(f"The input directory {input_dir!r} does not exist", field="img2img_batch_input_dir")
    os.makedirs(output_dir, exist_ok=True)
    for path in shared.listfiles(input_dir):
        if Path(path).suffix.lower() not in Image.registered_extensions():
            continue
        with open(Path(output_dir) / f"{Path(path).stem}.txt", "a", encoding="utf8") as file:
            file.write(f"{describe(images.read(path))}\n")


def connect(toprow: Toprow, form: Form) -> None:
    """Has the buttons of a toprow write into its prompt."""
    inputs = [form["mode"], form["img2img_batch_input_dir"], form["img2img_batch_output_dir"]]
    inputs += [form[name] for name in IMAGES]
    for button, describe in (
        (toprow.button_interrogate, interrogate),
        (toprow.button_deepbooru, interrogate_deepbooru),
    ):
        button.click(
            fn=call_queue.wrap_queued_call(describing(describe)),
            js="get_img2img_tab_index",
            inputs=inputs,
            outputs=[toprow.prompt],
        )


def describing(describe: Describe) -> Callable[..., Any]:
    """Returns the handler of a button."""

    def handler(*args: Any) -> Any:
        """Describes the image of the open tab."""
        return process_interrogate(describe, *args)

    return handler
