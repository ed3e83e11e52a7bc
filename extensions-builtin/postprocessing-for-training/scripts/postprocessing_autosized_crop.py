"""Postprocessing script "Auto-sized crop": crops to the allowed size that suits an image's shape best."""

from __future__ import annotations

from typing import Any

import gradio as gr
from PIL import Image

from modules import scripts_postprocessing
from modules.scripts_postprocessing import PostprocessedImage
from modules.ui_components import InputAccordion

SIZE_STEP = 64  # pixels
MAXIMIZE_AREA, MINIMIZE_ERROR = "Maximize area", "Minimize error"

EXPLANATION = (
    "Each picture is cropped around its centre to the size, with sides in steps of 64 pixels between the bounds, whose"
    " shape is near enough to the picture's."
)


def center_crop(image: Image.Image, w: int, h: int) -> Image.Image:
    """Returns the largest part of that shape in the middle of an image, resized to w x h."""
    if image.height / h < image.width / w:
        margin = (image.width - w * image.height / h) / 2
        box = (margin, 0, image.width - margin, image.height)
    else:
        margin = (image.height - h * image.width / w) / 2
        box = (0, margin, image.width, image.height - margin)
    return image.resize((w, h), Image.Resampling.LANCZOS, box)


def multicrop_pic(
    image: Image.Image, mindim: int, maxdim: int, minarea: int, maxarea: int, objective: str, threshold: float
) -> Image.Image | None:
    """Returns the image cropped to the best size, None if no size is allowed.

    mindim, maxdim: bounds of the sides, pixels. minarea, maxarea: of the area. threshold: of the error in shape, 0..1.
    """

    def error(w: int, h: int) -> float:
        """Returns how far the shape w x h is from that of the image, 0..1."""
        quotient = (image.width / image.height) / (w / h)
        return 1 - min(quotient, 1 / quotient)

    sides = range(int(mindim), int(maxdim) + 1, SIZE_STEP)
    sizes = [(w, h) for w in sides for h in sides if minarea <= w * h <= maxarea and error(w, h) <= threshold]
    if not sizes:
        return None
    by_area = objective == MAXIMIZE_AREA
    w, h = max(
        sizes, key=lambda size: (size[0] * size[1], -error(*size)) if by_area else (-error(*size), size[0] * size[1])
    )
    return center_crop(image, w, h)


class ScriptPostprocessingAutosizedCrop(scripts_postprocessing.ScriptPostprocessing):
    name = "Auto-sized crop"
    order = 4020

    def ui(self) -> dict[str, Any]:
        """Makes the controls, and returns them by the names of the arguments of `process`."""
        with InputAccordion(False, label="Auto-sized crop") as enable:
            gr.Markdown(EXPLANATION)
            with gr.Row():
                mindim = gr.Slider(
                    64, 2048, 384, step=8, label="Dimension lower bound", elem_id="postprocess_multicrop_mindim"
                )
                maxdim = gr.Slider(
                    64, 2048, 768, step=8, label="Dimension upper bound", elem_id="postprocess_multicrop_maxdim"
                )
            with gr.Row():
                minarea = gr.Slider(
                    64 * 64,
                    2048 * 2048,
                    64 * 64,
                    step=1,
                    label="Area lower bound",
                    elem_id="postprocess_multicrop_minarea",
                )
                maxarea = gr.Slider(
                    64 * 64,
                    2048 * 2048,
                    640 * 640,
                    step=1,
                    label="Area upper bound",
                    elem_id="postprocess_multicrop_maxarea",
                )
            with gr.Row():
                objective = gr.Radio(
                    [MAXIMIZE_AREA, MINIMIZE_ERROR],
                    value=MAXIMIZE_AREA,
                    label="Resizing objective",
                    elem_id="postprocess_multicrop_objective",
                )
                threshold = gr.Slider(
                    0, 1, 0.1, step=0.01, label="Error threshold", elem_id="postprocess_multicrop_threshold"
                )
        return {
            "enable": enable,
            "mindim": mindim,
            "maxdim": maxdim,
            "minarea": minarea,
            "maxarea": maxarea,
            "objective": objective,
            "threshold": threshold,
        }

    def process(
        self,
        pp: PostprocessedImage,
        enable: bool,
        mindim: int,
        maxdim: int,
        minarea: int,
        maxarea: int,
        objective: str,
        threshold: float,
    ) -> None:
        """Crops the image; it stays as it is if no size is allowed."""
        if enable:
            pp.image = multicrop_pic(pp.image, mindim, maxdim, minarea, maxarea, objective, threshold) or pp.image
