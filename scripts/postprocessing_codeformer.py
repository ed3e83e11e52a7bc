"""face: postprocessing script "CodeFormer": restores faces with that model."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from modules import codeformer_model, scripts_postprocessing
from modules.scripts_postprocessing import PostprocessedImage
from modules.ui_components import InputAccordion


class ScriptPostprocessingCodeFormer(scripts_postprocessing.ScriptPostprocessing):
    name = "CodeFormer"
    order = 3000

    def ui(self) -> dict[str, Any]:
        """Makes the controls, and returns them by the names of the arguments of `process`."""
        with InputAccordion(False, label="CodeFormer") as enable, gr.Row():
            visibility = gr.Slider(
                0.0, 1.0, 1.0, step=0.001, label="Visibility", elem_id="extras_codeformer_visibility"
            )
            weight = gr.Slider(
                0.0,
                1.0,
                0,
                step=0.001,
                label="Weight (0 = maximum effect, 1 = minimum effect)",
                elem_id="extras_codeformer_weight",
            )
        return {"enable": enable, "codeformer_visibility": visibility, "codeformer_weight": weight}

    def process(
        self, pp: PostprocessedImage, enable: bool, codeformer_visibility: float, codeformer_weight: float
    ) -> None:
        """Restores the faces, and blends the result with the image by the visibility, 0..1."""
        if not enable or codeformer_visibility == 0:
            return
        source = pp.image.convert("RGB")
        pixels = codeformer_model.codeformer.restore(np.array(source, dtype=np.uint8), w=codeformer_weight)
        restored = Image.fromarray(pixels)
        pp.image = restored if codeformer_visibility >= 1 else Image.blend(source, restored, codeformer_visibility)
        pp.info["CodeFormer visibility"] = round(codeformer_visibility, 3)
        pp.info["CodeFormer weight"] = round(codeformer_weight, 3)
