"""Postprocessing script "Split oversized images": cuts a long image into overlapping pieces."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr
from PIL import Image

from modules import scripts_postprocessing
from modules.scripts_postprocessing import PostprocessedImage
from modules.ui_components import InputAccordion


def split_pic(image: Image.Image, is_tall: bool, width: int, height: int, overlap_ratio: float) -> list[Image.Image]:
    """Returns pieces of width x height along the long side of an image, neighbours sharing at least overlap_ratio."""
    side, piece = (width, height) if is_tall else (height, width)
    length = image.height * side // image.width if is_tall else image.width * side // image.height
    image = image.resize((width, length) if is_tall else (length, height))

    count = max(math.ceil((length - piece * overlap_ratio) / (piece * (1.0 - overlap_ratio))), 1)
    step = (length - piece) / (count - 1) if count > 1 else 0
    starts = [int(step * index) for index in range(count)]
    if is_tall:
        return [image.crop((0, y, width, y + height)) for y in starts]
    return [image.crop((x, 0, x + width, height)) for x in starts]


class ScriptPostprocessingSplitOversized(scripts_postprocessing.ScriptPostprocessing):
    name = "Split oversized images"
    order = 4000

    def ui(self) -> dict[str, Any]:
        """Makes the controls, and returns them by the names of the arguments of `process`."""
        with InputAccordion(False, label="Split oversized images") as enable, gr.Row():
            threshold = gr.Slider(0.0, 1.0, 0.5, step=0.05, label="Threshold", elem_id="postprocess_split_threshold")
            overlap_ratio = gr.Slider(
                0.0, 0.9, 0.2, step=0.05, label="Overlap ratio", elem_id="postprocess_overlap_ratio"
            )
        return {"enable": enable, "split_threshold": threshold, "overlap_ratio": overlap_ratio}

    def process(self, pp: PostprocessedImage, enable: bool, split_threshold: float, overlap_ratio: float) -> None:
        """Cuts the image, if its shape differs enough from that of the target size; later pieces are extra images."""
        width, height = pp.shared.target_width, pp.shared.target_height
        if not enable or not width or not height:
            return

        is_tall = pp.image.height > pp.image.width
        aspect = (pp.image.width * height) / (pp.image.height * width)
        ratio = aspect if is_tall else 1 / aspect
        if ratio >= 1.0 or ratio > split_threshold:
            return
        pp.image, *others = split_pic(pp.image, is_tall, width, height, overlap_ratio)
        pp.extra_images = [pp.create_copy(image) for image in others]
