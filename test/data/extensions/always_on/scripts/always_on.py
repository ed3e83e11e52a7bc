"""An always-on script whose values are written into the infotext and pasted back."""

import gradio as gr

from modules import script_callbacks, scripts, shared
from modules.ui_components import InputAccordion


def add_setting():
    shared.opts.add_option("own_late", shared.OptionInfo("late", "Asked for where the script is made"))


class AlwaysOn(scripts.Script):
    def __init__(self):
        script_callbacks.on_ui_settings(add_setting)

    def title(self):
        return "Always on"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with InputAccordion(False, label=self.title(), elem_id=self.elem_id("enabled")) as enabled:
            strength = gr.Slider(label="Strength", minimum=0.0, maximum=1.0, step=0.1, value=0.5)
        self.infotext_fields = [(enabled, lambda d: "Own strength" in d), (strength, "Own strength")]
        self.paste_field_names = ["Own strength"]
        return [enabled, strength]

    def process(self, p, enabled, strength):
        if enabled:
            p.extra_generation_params["Own strength"] = strength
            p.extra_generation_params["Own number"] = shared.opts.own_number
            p.seed += 1
            p.all_seeds = [seed + 1 for seed in p.all_seeds]
