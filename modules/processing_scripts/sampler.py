"""face: the form's controls for sampler, schedule and steps."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import scripts, sd_samplers, sd_schedulers, shared
from modules.infotext_utils import PasteField
from modules.processing import StableDiffusionProcessing
from modules.ui_components import FormGroup, FormRow


class ScriptSampler(scripts.ScriptBuiltinUI):
    section = "sampler"

    def __init__(self) -> None:
        self.steps: gr.Slider | None = None
        self.sampler_name: gr.Dropdown | gr.Radio | None = None
        self.scheduler: gr.Dropdown | None = None

    def title(self) -> str:
        """Returns the script's name."""
        return "Sampler"

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes sampler, schedule and steps."""
        sampler_names = sd_samplers.visible_sampler_names()
        if shared.opts.samplers_in_dropdown:
            with FormRow(elem_id=f"sampler_selection_{self.tabname}"):
                self.sampler_name = self._sampler(gr.Dropdown, sampler_names)
                self.scheduler = self._scheduler()
                self.steps = self._steps()
        else:
            with FormGroup(elem_id=f"sampler_selection_{self.tabname}"):
                self.steps = self._steps()
                self.sampler_name = self._sampler(gr.Radio, sampler_names)
                self.scheduler = self._scheduler()

        self.infotext_fields = [
            PasteField(self.steps, "Steps", api="steps"),
            PasteField(self.sampler_name, sd_samplers.get_sampler_from_infotext, api="sampler_name"),
            PasteField(self.scheduler, sd_samplers.get_scheduler_from_infotext, api="scheduler"),
        ]
        return [self.steps, self.sampler_name, self.scheduler]

    def _sampler(self, kind: type[gr.Dropdown] | type[gr.Radio], names: list[str]) -> gr.Dropdown | gr.Radio:
        return kind(label="Sampling method", elem_id=f"{self.tabname}_sampling", choices=names, value=names[0])

    def _scheduler(self) -> gr.Dropdown:
        labels = [schedule.label for schedule in sd_schedulers.schedulers]
        return gr.Dropdown(label="Schedule type", elem_id=f"{self.tabname}_scheduler", choices=labels, value=labels[0])

    def _steps(self) -> gr.Slider:
        return gr.Slider(
            minimum=1, maximum=150, step=1, elem_id=f"{self.tabname}_steps", label="Sampling steps", value=20
        )

    def setup(self, p: StableDiffusionProcessing, steps: int, sampler_name: str, scheduler: str) -> None:
        """Puts the values of the controls on p."""
        p.steps = steps
        p.sampler_name = sampler_name
        p.scheduler = scheduler
