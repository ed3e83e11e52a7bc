"""face: the PNG Info tab: what an image says of itself, and where to send it."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from modules import call_queue, extras, infotext_utils
from modules.ui_components import ResizeHandleRow

DESTINATIONS = ("txt2img", "img2img", "inpaint", "extras")


@dataclass
class PngInfoTab:
    interface: gr.Blocks
    image: gr.Image


def create_ui() -> PngInfoTab:
    """Builds the tab in blocks of its own, to be rendered into the page."""
    with gr.Blocks(analytics_enabled=False) as interface, ResizeHandleRow(equal_height=False):
        with gr.Column(variant="panel"):
            image = gr.Image(
                elem_id="pnginfo_image",
                label="Source",
                sources=["upload"],
                interactive=True,
                type="pil",
                format="png",
                image_mode=None,
                buttons=[],
            )
        with gr.Column(variant="panel"):
            result = gr.HTML(elem_id="pnginfo_html_info", elem_classes="infotext")
            generation_info = gr.Textbox(visible=False, elem_id="pnginfo_generation_info")
            details = gr.HTML(elem_id="pnginfo_html2_info")
            with gr.Row(elem_id="pnginfo_send_buttons"):
                buttons = infotext_utils.create_buttons(DESTINATIONS)
        infotext_utils.bind_buttons(buttons, image, generation_info)
        image.change(
            fn=call_queue.wrap_gradio_call(extras.run_pnginfo, extra_outputs=["", ""]),
            inputs=[image],
            outputs=[result, generation_info, details],
            show_progress="hidden",
        )
    return PngInfoTab(interface, image)
