"""face: postprocessing script "GFPGAN": restores faces with that model."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from modules import gfpgan_model, scripts_postprocessing
from modules.scripts_postprocessing import PostprocessedImage
from modules.ui_components import InputAccordion


class ScriptPostprocessingGfpGan(scripts_postprocessing.ScriptPostprocessing):
    name = "GFPGAN"
    order = 2000

    def ui(self) -> dict[str, Any]:
        """Makes the controls, and returns them by the names of the arguments of `process`."""
        with InputAccordion(False, label="GFPGAN") as enable:
            visibility = gr.Slider(0.0, 1.0, 1.0, step=0.001, label="Visibility", elem_id="extras_gfpgan_visibility")
        return {"enable": enable, "gfpgan_visibility": visibility}

    def process(self, pp: PostprocessedImage, enable: bool, gfpgan_visibility: float) -> None:
        """Restores the faces, and blends the result with the image by the visibility, 0..1."""
        if not enable or gfpgan_visibility == 0:
            return
        source = pp.image.convert("RGB")
        restored = Image.fromarray(gfpgan_model.gfpgan_fix_faces(np.array(source, dtype=np.uint8)))
        pp.image = restored if gfpgan_visibility >= 1 else Image.blend(source, restored, gfpgan_visibility)
        pp.info["GFPGAN visibility"] = round(gfpgan_visibility, 3)
