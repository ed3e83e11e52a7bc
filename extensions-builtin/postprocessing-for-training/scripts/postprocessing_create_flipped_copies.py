"""Postprocessing script "Create flipped copies": adds mirrored versions of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image, ImageOps

from modules import scripts_postprocessing
from modules.scripts_postprocessing import PostprocessedImage
from modules.ui_components import InputAccordion

FLIPS = {
    "Horizontal": ImageOps.mirror,
    "Vertical": ImageOps.flip,
    "Both": lambda image: image.transpose(Image.Transpose.ROTATE_180),
}


class ScriptPostprocessingCreateFlippedCopies(scripts_postprocessing.ScriptPostprocessing):
    name = "Create flipped copies"
    order = 4030

    def ui(self) -> dict[str, Any]:
        """Makes the controls, and returns them by the names of the arguments of `process`."""
        with InputAccordion(False, label="Create flipped copies") as enable, gr.Row():
            option = gr.CheckboxGroup(
                list(FLIPS), value=["Horizontal"], show_label=False, elem_id="postprocess_flip_option"
            )
        return {"enable": enable, "option": option}

    def process(self, pp: PostprocessedImage, enable: bool, option: Sequence[str]) -> None:
        """Adds the chosen copies."""
        if enable:
            pp.extra_images += [flip(pp.image) for name, flip in FLIPS.items() if name in option]
