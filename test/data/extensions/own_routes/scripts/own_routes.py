"""A page of its own in a frame, with the routes it asks, and models as pydantic 1 had them.

The page in the frame presses hidden buttons of the page around it, which send its image and parameters to a tab.
"""

from io import BytesIO
from typing import Optional

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from PIL import Image
from pydantic import BaseModel, Field

from modules import generation_parameters_copypaste as copypaste
from modules import script_callbacks
from modules.api.models import StableDiffusionTxt2ImgProcessingAPI


class Task(StableDiffusionTxt2ImgProcessingAPI):
    name: Optional[str] = Field(title="Name")

    class Config(StableDiffusionTxt2ImgProcessingAPI.__config__):
        title = "Task"


class Answer(BaseModel):
    prompt: str
    name: Optional[str]


PARAMETERS = "a blue star\nSteps: 3, Sampler: Euler, CFG scale: 5, Seed: 9, Size: 72x64"

PAGE = """<!DOCTYPE html>
<img src="image" id="image">
<button id="send">Send</button>
<script>
    const bus = new BroadcastChannel("own-frame");
    document.getElementById("send").onclick = () => bus.postMessage({button: "own_frame_txt2img"});
</script>
"""


def add_tab():
    with gr.Blocks(analytics_enabled=False) as tab:
        gr.HTML("not there yet", elem_id="own_frame")
        image = gr.Image(type="pil", elem_id="own_frame_image", visible=False)
        text = gr.Textbox(elem_id="own_frame_text", visible=False)
        load = gr.Button("load", elem_id="own_frame_load", visible=False)
        load.click(lambda: (Image.new("RGB", (72, 64), "blue"), PARAMETERS), outputs=[image, text])
        button = gr.Button("Send", elem_id="own_frame_txt2img", visible=False)
        copypaste.register_paste_params_button(
            copypaste.ParamBinding(
                paste_button=button, tabname="txt2img", source_image_component=image, source_text_component=text
            )
        )
    return ((tab, "Own frame", "own_frame_tab"),)


def add_routes(demo, app: FastAPI):
    @app.post("/own/v1/task", response_model=Answer)
    def take(task: Task):
        return Answer(**task.dict(include={"prompt", "name"}))

    @app.get("/own/v1/page")
    def page():
        return "a page in a frame"


    @app.get("/own/v1/frame", response_class=HTMLResponse)
    def frame():
        return PAGE

    @app.get("/own/v1/image")
    def image():
        file = BytesIO()
        Image.new("RGB", (72, 64), "blue").save(file, "PNG")
        return Response(file.getvalue(), media_type="image/png")


script_callbacks.on_ui_tabs(add_tab)
script_callbacks.on_app_started(add_routes)
