"""Settings in the generation tabs, those the user has chosen; a value there holds for the jobs started there."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import infotext_utils, scripts, ui_settings
from modules.processing import StableDiffusionProcessing
from modules.shared import opts
from modules.ui_components import FormColumn, FormRow


class ScriptExtraOptions(scripts.Script):
    """setting_names: keys of the settings shown, in the order of the controls."""

    section = "extra_options"
    create_group = False

    def __init__(self) -> None:
        super().__init__()
        self.setting_names: list[str] = []

    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return "Extra options"

    def show(self, is_img2img: bool) -> Any:
        """Returns AlwaysVisible."""
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the control of each chosen setting, in as many columns as the settings say."""
        tabname = "img2img" if is_img2img else "txt2img"
        chosen = getattr(opts, f"extra_options_{tabname}")
        self.setting_names = [key for key in chosen if key in opts.data_labels]
        columns, controls = int(opts.extra_options_cols), []
        with self.create_container(f"extra_options_{tabname}"):
            for start in range(0, len(self.setting_names), columns):
                controls += self.create_row(self.setting_names[start : start + columns])
        names = {setting: name for name, setting in infotext_utils.settings_in_infotext()}
        shown = zip(self.setting_names, controls, strict=True)
        self.infotext_fields = [(control, names[key]) for key, control in shown if key in names]
        return controls

    def create_container(self, elem_id: str) -> Any:
        """Makes the box around the controls, which folds if the settings say so."""
        if opts.extra_options_accordion and self.setting_names:
            return gr.Accordion("Options", open=False, elem_id=elem_id)
        return gr.Group(elem_id=elem_id)

    def create_row(self, keys: list[str]) -> list[Any]:
        """Makes the controls of some settings side by side."""
        controls = []
        with FormRow():
            for key in keys:
                with FormColumn(min_width=160):
                    control = ui_settings.create_setting_component(key)
                control.do_not_save_to_config = True  # its default is the setting
                controls.append(control)
        return controls

    def before_process(self, p: StableDiffusionProcessing, *values: Any) -> None:
        """Lays the values over the settings of the job; what the job overrides itself stays."""
        for key, value in zip(self.setting_names, values, strict=False):
            p.override_settings.setdefault(key, value)
