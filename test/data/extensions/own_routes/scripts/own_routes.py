"""Routes that a page in a frame would ask, with models as pydantic 1 had them."""

from typing import Optional

from fastapi import FastAPI
from pydantic import BaseModel, Field

from modules import script_callbacks
from modules.api.models import StableDiffusionTxt2ImgProcessingAPI


class Task(StableDiffusionTxt2ImgProcessingAPI):
    name: Optional[str] = Field(title="Name")

    class Config(StableDiffusionTxt2ImgProcessingAPI.__config__):
        title = "Task"


class Answer(BaseModel):
    prompt: str
    name: Optional[str]


def add_routes(demo, app: FastAPI):
    @app.post("/own/v1/task", response_model=Answer)
    def take(task: Task):
        return Answer(**task.dict(include={"prompt", "name"}))

    @app.get("/own/v1/page")
    def page():
        return "a page in a frame"


script_callbacks.on_app_started(add_routes)
