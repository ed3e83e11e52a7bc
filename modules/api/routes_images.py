"""face: what can be done with a finished image: reading its parameters, enlarging it, describing it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from modules import images, infotext_utils, script_callbacks
from modules.api import models, waiting
from modules.api.image_codec import decode_base64_to_image
from modules.http_routes import DescribedRoute

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


@router.post(
    "/sdapi/v1/extra-single-image",
    response_model=models.ExtrasSingleImageResponse,
    summary="Enlarge or restore a picture",
)
async def extras_single_image_api(req: models.ExtrasSingleImageRequest, request: Request) -> dict:
    """Runs the postprocessing scripts on one image."""
    return await waiting.carry_out(request, "extra-single-image", req)


@router.post(
    "/sdapi/v1/extra-batch-images",
    response_model=models.ExtrasBatchImagesResponse,
    summary="Enlarge or restore several pictures",
)
async def extras_batch_images_api(req: models.ExtrasBatchImagesRequest, request: Request) -> dict:
    """Runs the postprocessing scripts on several images."""
    return await waiting.carry_out(request, "extra-batch-images", req)


@router.post("/sdapi/v1/interrogate", response_model=models.InterrogateResponse, summary="Describe a picture")
async def interrogateapi(interrogatereq: models.InterrogateRequest, request: Request) -> dict:
    """Describes an image in words or tags."""
    return await waiting.carry_out(request, "interrogate", interrogatereq)
