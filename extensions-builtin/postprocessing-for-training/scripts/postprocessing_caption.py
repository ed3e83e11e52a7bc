"""Postprocessing script "Caption": describes an image in a text file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from modules import deepbooru, scripts_postprocessing, shared
from modules.scripts_postprocessing import PostprocessedImage
from modules.ui_components import InputAccordion

DEEPBOORU, BLIP = "Deepbooru", "BLIP"


class ScriptPostprocessingCaption(scripts_postprocessing.ScriptPostprocessing):
    name = "Caption"
    order = 4040

    def ui(self) -> dict[str, Any]:
        """Makes the controls, and returns them by the names of the arguments of `process`."""
        with InputAccordion(False, label="Caption") as enable:
            option = gr.CheckboxGroup(
                [DEEPBOORU, BLIP], value=[DEEPBOORU], show_label=False, elem_id="postprocess_caption_option"
            )
        return {"enable": enable, "option": option}

    def process(self, pp: PostprocessedImage, enable: bool, option: Sequence[str]) -> None:
        """Adds the descriptions of the chosen models to the caption."""
        if not enable:
            return
        captions = [pp.caption]
        if DEEPBOORU in option:
            captions.append(deepbooru.model.tag(pp.image))
        if BLIP in option:
            captions.append(shared.interrogator.interrogate(pp.image.convert("RGB")))
        pp.caption = ", ".join(caption for caption in captions if caption)
