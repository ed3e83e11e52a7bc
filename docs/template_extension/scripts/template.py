"""A script to begin from: it darkens the images of a job, writes that into their infotext and reads it back."""

import gradio as gr
from PIL import ImageEnhance

from modules import script_callbacks, scripts, shared

KEY = "Template brightness"


class Template(scripts.Script):
    def title(self):
        return "Template"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with gr.Accordion("Template", open=False):
            brightness = gr.Slider(0.0, 2.0, value=1.0, step=0.05, label="Brightness")
        self.infotext_fields = [(brightness, KEY)]
        return [brightness]

    def process(self, p, brightness):
        if brightness != 1.0:
            p.extra_generation_params[KEY] = brightness

    def postprocess_image(self, p, pp, brightness):
        if brightness != 1.0 and shared.opts.template_enabled:
            pp.image = ImageEnhance.Brightness(pp.image).enhance(brightness)


def on_ui_settings():
    info = shared.OptionInfo(True, "Change images", section=("template", "Template"))
    shared.opts.add_option("template_enabled", info)


script_callbacks.on_ui_settings(on_ui_settings)
