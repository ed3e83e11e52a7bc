"""Postprocessing script "Auto focal point crop": crops to the target size around what the image is about."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import errors, scripts_postprocessing
from modules.scripts_postprocessing import PostprocessedImage
from modules.textual_inversion import autocrop
from modules.ui_components import InputAccordion


class ScriptPostprocessingFocalCrop(scripts_postprocessing.ScriptPostprocessing):
    name = "Auto focal point crop"
    order = 4010

    def ui(self) -> dict[str, Any]:
        """Makes the controls, and returns them by the names of the arguments of `process`."""
        with InputAccordion(False, label="Auto focal point crop") as enable:
            face_weight = gr.Slider(
                0.0,
                1.0,
                0.9,
                step=0.05,
                label="Focal point face weight",
                elem_id="postprocess_focal_crop_face_weight",
            )
            entropy_weight = gr.Slider(
                0.0,
                1.0,
                0.15,
                step=0.05,
                label="Focal point entropy weight",
                elem_id="postprocess_focal_crop_entropy_weight",
            )
            edges_weight = gr.Slider(
                0.0,
                1.0,
                0.5,
                step=0.05,
                label="Focal point edges weight",
                elem_id="postprocess_focal_crop_edges_weight",
            )
            debug = gr.Checkbox(label="Create debug image", elem_id="train_process_focal_crop_debug")
        return {
            "enable": enable,
            "face_weight": face_weight,
            "entropy_weight": entropy_weight,
            "edges_weight": edges_weight,
            "debug": debug,
        }

    def process(
        self,
        pp: PostprocessedImage,
        enable: bool,
        face_weight: float,
        entropy_weight: float,
        edges_weight: float,
        debug: bool,
    ) -> None:
        """Crops the image to the target size, where there is one; debug adds it with the focal points drawn in."""
        if not enable or not pp.shared.target_width or not pp.shared.target_height:
            return
        settings = autocrop.Settings(
            crop_width=pp.shared.target_width,
            crop_height=pp.shared.target_height,
            face_points_weight=face_weight,
            entropy_points_weight=entropy_weight,
            corner_points_weight=edges_weight,
            annotate_image=debug,
            dnn_model_path=face_detector() if face_weight > 0 else None,
        )
        pp.image, *others = autocrop.crop_image(pp.image, settings)
        pp.extra_images = [
            pp.create_copy(image, nametags=["focal-crop-debug"], disable_processing=True) for image in others
        ]


def face_detector() -> str | None:
    """Returns the file of the face detector, or None, with a report, if it can't be had: faces then play no part."""
    try:
        return autocrop.download_and_cache_models()
    except errors.NotFound:
        errors.report("Unable to load the face detector for the auto crop", exc_info=True)
        return None
