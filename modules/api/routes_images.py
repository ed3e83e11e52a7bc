"""face: what can be done with a finished image: reading its parameters, enlarging it, describing it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from PIL import Image

from modules import bounds, deepbooru, images, infotext_utils, postprocessing, script_callbacks, shared
from modules.api import models, waiting
from modules.api.image_codec import decode_base64_to_image, decode_images, to_json_image
from modules.api.waiting import Plan
from modules.errors import InvalidInput, NotFound
from modules.http_routes import DescribedRoute
from modules.job.postprocess import Source

BY_FACTOR = 0
"""The resize_mode that takes upscaling_resize."""

router = APIRouter(tags=["images"], route_class=DescribedRoute)


@router.post(
    "/sdapi/v1/png-info", response_model=models.PNGInfoResponse, summary="Read the generation parameters of a picture"
)
def pnginfoapi(req: models.PNGInfoRequest) -> dict:
    """Reads the infotext of an image; hooks may change its parameters."""
    image = decode_base64_to_image(req.image.strip())
    text, items = images.read_info_from_image(image)
    params = infotext_utils.parse_generation_parameters(text or "")
    script_callbacks.infotext_pasted_callback(text or "", params)
    return {"info": text or "", "items": jsonable(items), "parameters": params}


def jsonable(value: Any) -> Any:
    """Returns what an image says of itself as JSON holds it: bytes as UTF-8 as far as it goes, other things as text."""
    if isinstance(value, bytes):
        return value.decode("utf8", errors="replace")
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if value is None or isinstance(value, str | int) or isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)


def extras_arguments(req: models.ExtrasBaseRequest) -> dict[str, Any]:
    """Returns the arguments of `postprocessing.run_extras` by the names it has for them."""
    names = {"extras_upscaler_1": "upscaler_1", "extras_upscaler_2": "upscaler_2"}
    values = req.model_dump(exclude={"image", "imageList"})
    for name, field in names.items():
        values[name] = values.pop(field)
    return values


@router.post(
    "/sdapi/v1/extra-single-image",
    response_model=models.ExtrasSingleImageResponse,
    summary="Enlarge or restore a picture",
)
async def extras_single_image_api(req: models.ExtrasSingleImageRequest, request: Request) -> dict:
    """Runs the postprocessing scripts on one image."""
    return await waiting.carry_out(request, plan_extras_single, req)


def plan_extras_single(req: models.ExtrasSingleImageRequest) -> Plan:
    """Returns the job that enlarges or restores one image."""
    image = decode_base64_to_image(req.image)
    check_extras(req, [image])
    work = partial(extras, req, extras_mode=0, image_folder="", image=image)
    return Plan("extras", work, lambda found: {"image": to_json_image(found[0][0]), "html_info": found[1]})


@router.post(
    "/sdapi/v1/extra-batch-images",
    response_model=models.ExtrasBatchImagesResponse,
    summary="Enlarge or restore several pictures",
)
async def extras_batch_images_api(req: models.ExtrasBatchImagesRequest, request: Request) -> dict:
    """Runs the postprocessing scripts on several images."""
    return await waiting.carry_out(request, plan_extras_batch, req)


def plan_extras_batch(req: models.ExtrasBatchImagesRequest) -> Plan:
    """Returns the job that enlarges or restores several images."""
    folder = decode_images([entry.data for entry in req.imageList], "imageList", decode=image_or_error)
    good = [image for image in folder if isinstance(image, Image.Image)]
    if folder and not good:
        raise folder[0]
    check_extras(req, good)
    folder = [Source(image, entry.name) for image, entry in zip(folder, req.imageList, strict=True)]
    work = partial(extras, req, extras_mode=1, image_folder=folder, image="")
    return Plan(
        "extras", work, lambda found: {"images": [to_json_image(image) for image in found[0]], "html_info": found[1]}
    )


def check_extras(req: models.ExtrasBaseRequest, sources: list[Image.Image]) -> None:
    """Raises InvalidInput, naming the field, where the images would become larger than the settings allow, each for
    itself or all together, and where they cannot be sent in the format of the settings.
    """
    limits = bounds.current()
    images.check_format(shared.opts.samples_format)
    pixels = 0.0
    for image in sources:
        if req.resize_mode == BY_FACTOR:
            limits.check_scaled(image.size, req.upscaling_resize, "upscaling_resize")
            pixels += image.width * image.height * req.upscaling_resize**2
        else:
            target = (req.upscaling_resize_w, req.upscaling_resize_h)
            limits.check_covering(image.size, target, ("upscaling_resize_w", "upscaling_resize_h"))
            pixels += target[0] * target[1]
    limits.check_pixels(pixels, "imageList")


def image_or_error(encoded: str) -> Image.Image | InvalidInput:
    """Returns a decoded image; what is wrong with it where it cannot be, which does not keep the others from it."""
    try:
        return decode_base64_to_image(encoded)
    except InvalidInput as e:
        return e


def extras(req: models.ExtrasBaseRequest, **source: Any) -> tuple[list, str]:
    """Runs the postprocessing scripts; returns the images and what is said of them as HTML."""
    images_made, info, _ = postprocessing.run_extras(
        input_dir="", output_dir="", save_output=False, **source, **extras_arguments(req)
    )
    return images_made, info


@router.post("/sdapi/v1/interrogate", response_model=models.InterrogateResponse, summary="Describe a picture")
async def interrogateapi(interrogatereq: models.InterrogateRequest, request: Request) -> dict:
    """Describes an image in words or tags."""
    return await waiting.carry_out(request, plan_interrogation, interrogatereq)


def plan_interrogation(req: models.InterrogateRequest) -> Plan:
    """Returns the job that describes an image. Raises NotFound for an unknown model."""
    image = decode_base64_to_image(req.image).convert("RGB")
    describe = {"clip": shared.interrogator.interrogate, "deepdanbooru": deepbooru.model.tag}.get(req.model)
    if describe is None:
        raise NotFound("Model not found", field="model")
    return Plan("interrogate", lambda: describe(image), lambda caption: {"caption": caption})
