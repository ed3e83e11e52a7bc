"""Finds controls of the page by their ids, and sets the size of the image: any, or in an aspect ratio."""

import gradio as gr

from modules import script_callbacks, scripts
from modules.ui_components import ToolButton


class RatioButton(ToolButton):
    def __init__(self, ratio=1.0, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def apply(self, width, height):
        return [round(height * self.ratio), height] if self.ratio > 1 else [width, round(width / self.ratio)]


class Finder(scripts.Script):
    found = {}

    def title(self):
        return "Finder"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def after_component(self, component, **kwargs):
        if kwargs.get("elem_id") in ("txt2img_prompt", "img2img_prompt"):
            self.prompt = component
        if kwargs.get("elem_id") in ("txt2img_width", "img2img_width"):
            self.width = component
        if kwargs.get("elem_id") in ("txt2img_height", "img2img_height"):
            self.height = component

    def ui(self, is_img2img):
        tab = "img2img" if is_img2img else "txt2img"
        button = gr.Button("Use the prompt", elem_id=f"{tab}_finder")
        with gr.Row(elem_id=f"{tab}_finder_ratios"):
            for name, ratio in {"2:1": 2.0, "1:2": 0.5}.items():
                size = [self.width, self.height]
                chosen = RatioButton(ratio, value=name, elem_id=f"{tab}_finder_{name[0]}")
                chosen.click(chosen.apply, inputs=size, outputs=size)
        button.click(lambda prompt: prompt, inputs=[self.prompt], outputs=[self.prompt])


def remember(component, **kwargs):
    if kwargs.get("elem_id") in ("txt2img_width", "txt2img_height"):
        Finder.found[kwargs["elem_id"]] = component
    if kwargs.get("elem_id") == "txt2img_height":
        gr.Button("Square", elem_id="finder_square").click(lambda: (512, 512), None, list(Finder.found.values()))


script_callbacks.on_after_component(remember)
