"""face: what is done with finished images as a job: enlarging and restoring them, describing them."""

from __future__ import annotations

from functools import partial
from typing import Any

from PIL import Image

from modules import bounds, deepbooru, images, postprocessing, shared
from modules.api import models
from modules.api.image_codec import decode_base64_to_image, decode_images, to_json_images
from modules.errors import InvalidInput, NotFound
from modules.job.plan import Plan, ResultImage
from modules.job.postprocess import Source

BY_FACTOR = 0
"""The resize_mode that takes upscaling_resize."""


def extras_arguments(req: models.ExtrasBaseRequest) -> dict[str, Any]:
    """Returns the arguments of `postprocessing.run_extras` by the names it has for them."""
    names = {"extras_upscaler_1": "upscaler_1", "extras_upscaler_2": "upscaler_2"}
    values = req.model_dump(exclude={"image", "imageList"})
    for name, field in names.items():
        values[name] = values.pop(field)
    return values


def plan_extras_single(req: models.ExtrasSingleImageRequest) -> Plan:
    """Returns the job that enlarges or restores one image."""
    image = decode_base64_to_image(req.image)
    check_extras(req, [image])
    work = partial(extras, req, extras_mode=0, image_folder="", image=image)
    return Plan(
        "extras",
        work,
        lambda found, images: {"image": to_json_images(images)[0], "html_info": found[1]},
        images_of_extras,
    )


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
        "extras",
        work,
        lambda found, images: {"images": to_json_images(images), "html_info": found[1]},
        images_of_extras,
    )


def images_of_extras(found: tuple[list, str]) -> list[ResultImage]:
    """Returns what enlarging or restoring has made."""
    image_format = shared.opts.samples_format
    return [ResultImage(image, image.info.get("parameters") or "", format=image_format) for image in found[0]]


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


def plan_interrogation(req: models.InterrogateRequest) -> Plan:
    """Returns the job that describes an image. Raises NotFound for an unknown model."""
    image = decode_base64_to_image(req.image).convert("RGB")
    describe = {"clip": shared.interrogator.interrogate, "deepdanbooru": deepbooru.model.tag}.get(req.model)
    if describe is None:
        raise NotFound("Model not found", field="model")
    return Plan("interrogate", lambda: describe(image), lambda caption, images: {"caption": caption})
