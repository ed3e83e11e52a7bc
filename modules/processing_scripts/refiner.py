"""face: the form's controls for the refiner: a second checkpoint that ends what the first began."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import checkpoints, scripts, sd_models
from modules.infotext_utils import PasteField
from modules.processing import StableDiffusionProcessing
from modules.ui_common import create_refresh_button
from modules.ui_components import InputAccordion


class ScriptRefiner(scripts.ScriptBuiltinUI):
    section = "accordions"
    create_group = False

    def title(self) -> str:
        """Returns the script's name."""
        return "Refiner"

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the accordion of the refiner."""
        with InputAccordion(False, label="Refiner", elem_id=self.elem_id("enable")) as enable, gr.Row():
            checkpoint = gr.Dropdown(
                label="Checkpoint",
                elem_id=self.elem_id("checkpoint"),
                choices=["", *sd_models.checkpoint_tiles()],
                value="",
                tooltip="Takes over the denoising part way",
            )
            create_refresh_button(
                checkpoint,
                sd_models.list_models,
                lambda: {"choices": ["", *sd_models.checkpoint_tiles()]},
                self.elem_id("checkpoint_refresh"),
            )
            switch_at = gr.Slider(
                value=0.8,
                label="Switch at",
                minimum=0.01,
                maximum=1.0,
                step=0.01,
                elem_id=self.elem_id("switch_at"),
                tooltip="Share of the denoising after which the refiner takes over; 1 is never",
            )

        self.infotext_fields = [
            PasteField(enable, lambda parameters: "Refiner" in parameters),
            PasteField(checkpoint, pasted_checkpoint, api="refiner_checkpoint"),
            PasteField(switch_at, "Refiner switch at", api="refiner_switch_at"),
        ]
        return [enable, checkpoint, switch_at]

    def setup(
        self,
        p: StableDiffusionProcessing,
        enable_refiner: bool,
        refiner_checkpoint: str | None,
        refiner_switch_at: float,
    ) -> None:
        """Puts the refiner's values on p; without the accordion's tick there is none."""
        is_used = enable_refiner and refiner_checkpoint not in (None, "", "None")
        p.refiner_checkpoint = refiner_checkpoint if is_used else None
        p.refiner_switch_at = refiner_switch_at if is_used else None


def pasted_checkpoint(parameters: dict[str, Any]) -> str | None:
    """Returns the title of the checkpoint that an infotext names; its text if there is none like it here."""
    name = parameters.get("Refiner")
    info = checkpoints.find(name)
    return info.title if info is not None else name
