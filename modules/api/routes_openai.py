"""face: images as clients of OpenAI's API ask for them: /v1/images/generations and /v1/images/edits.

What such a client says becomes a request of /sdapi/v1/txt2img or img2img, so prompts mean what they mean there.
"""

from __future__ import annotations

import base64
import io
import re
import time
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, Field

from modules import checkpoints, images, util
from modules.api import job_kinds, waiting
from modules.errors import InvalidInput, NotFound, WebuiError
from modules.http_paths import OPENAI_PREFIX, OWN_PREFIX
from modules.http_routes import DescribedRoute

SIZE = re.compile(r"(\d{1,9})x(\d{1,9})")

THEIRS = re.compile(r"(dall-e|gpt-image)\b.*")
"""Names of models that clients send because they must; they stand for the checkpoint in use."""

IMAGES_ALONE = {"return_grid": False, "return_mask": False, "return_mask_composite": False}
"""Settings of such a job: what it answers are the images that were asked for and no others."""

Format = Literal["b64_json", "url"]


class OpenAiRoute(DescribedRoute):
    """A route whose errors have the form that OpenAI's clients read."""

    def get_route_handler(self) -> Any:
        """Returns the handler of the route, with its errors as answers."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Any:
            """Answers a request."""
            try:
                return await handle(request)
            except WebuiError as e:
                kind = "invalid_request_error" if e.http_status < 500 else "server_error"
                error = {"message": str(e), "type": kind, "param": e.field, "code": type(e).__name__}
                return JSONResponse({"error": error}, e.http_status, e.headers)

        return answered


router = APIRouter(prefix=f"{OPENAI_PREFIX}images", tags=["openai"], route_class=OpenAiRoute)


class ImageGeneration(BaseModel):
    prompt: str = Field(title="Prompt", description="In the language of this program: weights, <lora:name:1>, ...")
    model: str | None = Field(default=None, title="Model", description="A checkpoint; the one in use if not given.")
    n: int | None = Field(default=1, ge=1, le=64, title="Number of images")
    size: str | None = Field(default=None, title="Size", description="WIDTHxHEIGHT, or auto.")
    response_format: Format | None = Field(default=None, title="Format of the answer")


class GeneratedImage(BaseModel):
    b64_json: str | None = Field(default=None, title="The image as base64")
    url: str | None = Field(default=None, title="Its address, for as long as the job is remembered")
    revised_prompt: str | None = Field(default=None, title="The prompt as it was carried out")


class GeneratedImages(BaseModel):
    created: int = Field(title="Created", description="Seconds since the epoch.")
    data: list[GeneratedImage] = Field(title="Images")


def common_fields(prompt: str, model: str | None, n: int | None, size: str | None) -> dict[str, Any]:
    """Returns what both routes say as fields of a request of this program."""
    fields: dict[str, Any] = {
        "prompt": util.sendable(prompt),
        "n_iter": n or 1,
        "override_settings": dict(IMAGES_ALONE),
    }
    if size and size != "auto":
        found = SIZE.fullmatch(size)
        if found is None:
            raise InvalidInput(f"size is {size!r}: give WIDTHxHEIGHT, for example 512x512, or auto", field="size")
        fields |= {"width": int(found[1]), "height": int(found[2])}
    if model and not THEIRS.fullmatch(model):
        if checkpoints.find(model) is None:
            raise NotFound(f"model: there is no checkpoint {model!r}; see /sdapi/v1/sd-models", field="model")
        fields["override_settings"]["sd_model_checkpoint"] = model
    return fields


async def carried_out(request: Request, kind: str, fields: dict[str, Any], answer_format: Format | None) -> dict:
    """Runs a request and returns its images as the client wants them."""
    answer = await waiting.carry_out(request, kind, job_kinds.body_of(kind, fields))
    if answer_format == "url":
        place = f"{request.base_url}{OWN_PREFIX.strip('/')}/v1/jobs/{quote(request.state.job, safe='')}/images"
        data = [{"url": f"{place}/{n}"} for n in range(len(answer["images"]))]
    else:
        data = [{"b64_json": image} for image in answer["images"]]
    return {"created": int(time.time()), "data": [entry | {"revised_prompt": fields["prompt"]} for entry in data]}


@router.post("/generations", response_model=GeneratedImages, summary="Make images as OpenAI's clients ask for them")
async def generate_images(body: ImageGeneration, request: Request) -> dict:
    """Makes images from a prompt."""
    fields = common_fields(body.prompt, body.model, body.n, body.size)
    return await carried_out(request, "txt2img", fields, body.response_format)


@router.post("/edits", response_model=GeneratedImages, summary="Change images as OpenAI's clients ask for it")
async def edit_image(
    request: Request,
    prompt: Annotated[str, Form(description="What shall be seen.")],
    image: Annotated[UploadFile, File(description="The image to change.")],
    mask: Annotated[UploadFile | None, File(description="Where it is transparent, the image is changed.")] = None,
    model: Annotated[str | None, Form(description="A checkpoint; the one in use if not given.")] = None,
    n: Annotated[int, Form(ge=1, le=64, description="Number of images.")] = 1,
    size: Annotated[str | None, Form(description="WIDTHxHEIGHT; that of the image if not given.")] = None,
    response_format: Annotated[Format | None, Form(description="Format of the answer.")] = None,
) -> dict:
    """Makes images from an image; with a mask, or if the image is transparent somewhere, only there."""
    source = read(await image.read(), "image")
    fields = common_fields(prompt, model, n, size or None)
    fields.setdefault("width", source.width)
    fields.setdefault("height", source.height)
    masked = read(await mask.read(), "mask") if mask is not None else source
    if masked.size != source.size:
        raise InvalidInput(f"mask is {masked.size}, but the image {source.size}: they have to be of one size", "mask")
    fields["init_images"] = [encoded(source.convert("RGB"))]
    transparent = transparency(masked)
    if transparent is not None:
        fields |= {"mask": encoded(transparent), "inpainting_fill": 1, "inpaint_full_res": False}
    return await carried_out(request, "img2img", fields, response_format)


def read(content: bytes, field: str) -> Image.Image:
    """Returns an uploaded image. Raises InvalidInput for what is none."""
    try:
        return images.read(io.BytesIO(content))
    except OSError as e:
        raise InvalidInput(f"{field} is no image that can be read", field=field) from e


def transparency(image: Image.Image) -> Image.Image | None:
    """Returns an image, mode L, that is white where another is transparent; None if it is so nowhere."""
    if "A" not in image.getbands():
        return None
    alpha = image.getchannel("A").point(lambda value: 255 if value < 128 else 0)
    return alpha if alpha.getbbox() is not None else None


def encoded(image: Image.Image) -> str:
    """Returns an image as base64."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode("ascii")
