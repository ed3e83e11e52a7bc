"""Finds controls of the page by their ids, and sets the size of the image."""

import gradio as gr

from modules import script_callbacks, scripts


class Finder(scripts.Script):
    found = {}

    def title(self):
        return "Finder"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def after_component(self, component, **kwargs):
        if kwargs.get("elem_id") in ("txt2img_prompt", "img2img_prompt"):
            self.prompt = component

    def ui(self, is_img2img):
        tab = "img2img" if is_img2img else "txt2img"
        button = gr.Button("Use the prompt", elem_id=f"{tab}_finder")
        button.click(lambda prompt: prompt, inputs=[self.prompt], outputs=[self.prompt])


def remember(component, **kwargs):
    if kwargs.get("elem_id") in ("txt2img_width", "txt2img_height"):
        Finder.found[kwargs["elem_id"]] = component
    if kwargs.get("elem_id") == "txt2img_height":
        gr.Button("Square", elem_id="finder_square").click(lambda: (512, 512), None, list(Finder.found.values()))


script_callbacks.on_after_component(remember)
