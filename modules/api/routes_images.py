"""face: what can be done with a finished picture: reading its parameters, enlarging it, describing it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from modules import call_queue, deepbooru, images, infotext_utils, postprocessing, script_callbacks, shared
from modules.api import models
from modules.api.image_codec import decode_base64_to_image, to_json_image
from modules.errors import NotFound

router = APIRouter(tags=["images"])


@router.post(
    "/sdapi/v1/png-info", response_model=models.PNGInfoResponse, summary="Read the generation parameters of a picture"
)
def pnginfoapi(req: models.PNGInfoRequest) -> dict:
    image = decode_base64_to_image(req.image.strip())
    text, items = images.read_info_from_image(image)
    params = infotext_utils.parse_generation_parameters(text or "")
    script_callbacks.infotext_pasted_callback(text or "", params)
    return {"info": text or "", "items": items, "parameters": params}


def extras_arguments(req: models.ExtrasBaseRequest) -> dict[str, Any]:
    """Arguments of `postprocessing.run_extras` by the names it has for them."""
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
def extras_single_image_api(req: models.ExtrasSingleImageRequest) -> dict:
    image = decode_base64_to_image(req.image)
    with call_queue.gpu_job("extras"):
        pictures, info, _ = postprocessing.run_extras(
            extras_mode=0,
            image_folder="",
            input_dir="",
            output_dir="",
            save_output=False,
            image=image,
            **extras_arguments(req),
        )
    return {"image": to_json_image(pictures[0]), "html_info": info}


@router.post(
    "/sdapi/v1/extra-batch-images",
    response_model=models.ExtrasBatchImagesResponse,
    summary="Enlarge or restore several pictures",
)
def extras_batch_images_api(req: models.ExtrasBatchImagesRequest) -> dict:
    folder = [decode_base64_to_image(entry.data) for entry in req.imageList]
    with call_queue.gpu_job("extras"):
        pictures, info, _ = postprocessing.run_extras(
            extras_mode=1,
            image_folder=folder,
            image="",
            input_dir="",
            output_dir="",
            save_output=False,
            **extras_arguments(req),
        )
    return {"images": [to_json_image(picture) for picture in pictures], "html_info": info}


@router.post("/sdapi/v1/interrogate", response_model=models.InterrogateResponse, summary="Describe a picture")
def interrogateapi(interrogatereq: models.InterrogateRequest) -> dict:
    image = decode_base64_to_image(interrogatereq.image).convert("RGB")
    describe = {"clip": shared.interrogator.interrogate, "deepdanbooru": deepbooru.model.tag}.get(interrogatereq.model)
    if describe is None:
        raise NotFound("Model not found", field="model")
    with call_queue.gpu_job("interrogate"):
        return {"caption": describe(image)}
