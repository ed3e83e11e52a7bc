"""face: the img2img tab's values become a job, and the job's result what the tab shows; also its batch mode."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, UnidentifiedImageError

from modules import checkpoints, errors, images, processing, run_files, scripts, shared
from modules.infotext_utils import parse_generation_parameters
from modules.job.records import records_of
from modules.job.request import ImageBatch, JobRequest
from modules.job.run_state import copy_of_job
from modules.processing import Processed, StableDiffusionProcessingImg2Img
from modules.processing_runner import ProcessingRunner
from modules.shared import opts, state
from modules.txt2img import result_outputs, run, tab_request
from modules.ui_form import named_values

logger = logging.getLogger(__name__)

FAILURES = (OSError, errors.InvalidInput, errors.NotFound)
"""What one image of a batch fails with, while the next may work."""

BATCH_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")

MODES = ("img2img", "sketch", "inpaint", "inpaint_sketch", "inpaint_upload", "batch")
"""The sub-tabs by position."""


@dataclass(frozen=True)
class Img2ImgValues:
    """What the tab sends, in this order. `mode` is the position of the sub-tab; fields of other modes are ignored."""

    mode: int
    prompt: str
    negative_prompt: str
    prompt_styles: list[str]
    init_img: Image.Image | None
    sketch: Image.Image | None
    init_img_with_mask: dict[str, Image.Image] | None
    inpaint_color_sketch: Any
    inpaint_color_sketch_orig: Image.Image | None
    init_img_inpaint: Image.Image | None
    init_mask_inpaint: Image.Image | None
    mask_blur: int
    mask_alpha: float
    inpainting_fill: int
    n_iter: int
    batch_size: int
    cfg_scale: float
    image_cfg_scale: float
    denoising_strength: float
    selected_scale_tab: int
    height: int
    width: int
    scale_by: float
    resize_mode: int
    inpaint_full_res: int
    inpaint_full_res_padding: int
    inpainting_mask_invert: int
    img2img_batch_input_dir: str
    img2img_batch_output_dir: str
    img2img_batch_inpaint_mask_dir: str
    override_settings_texts: list[str]
    img2img_batch_use_png_info: bool
    img2img_batch_png_info_props: list[str]
    img2img_batch_png_info_dir: str
    img2img_batch_source_type: str
    img2img_batch_upload: list[str] | None
    script_args: tuple

    @property
    def is_batch(self) -> bool:
        """Whether the Batch tab is the open one."""
        return MODES[self.mode] == "batch"


@dataclass(frozen=True)
class PngInfo:
    """What a batch takes from the infotext of each of its images, or of that of the same name in `directory`."""

    properties: Sequence[str] = ()
    directory: str | None = None

    def parameters_of(self, path: str, image: Image.Image) -> dict[str, Any]:
        """Returns the chosen parameters; none for an image without infotext or a file that can't be read."""
        try:
            source = images.read(os.path.join(self.directory, os.path.basename(path))) if self.directory else image
        except (OSError, UnidentifiedImageError):
            return {}
        infotext, _ = images.read_info_from_image(source)
        parameters = parse_generation_parameters(infotext) if infotext else {}
        return {key: value for key, value in parameters.items() if key in self.properties}


def take_parameters(p: StableDiffusionProcessingImg2Img, parameters: dict[str, Any]) -> None:
    """Extends a job's prompts by those of the parameters, and replaces its other values."""
    p.prompt = join_prompts(p.prompt, parameters.get("Prompt"))
    p.negative_prompt = join_prompts(p.negative_prompt, parameters.get("Negative prompt"))
    p.seed = read_number(parameters, "Seed", p.seed, int)
    p.cfg_scale = read_number(parameters, "CFG scale", p.cfg_scale, float)
    p.steps = read_number(parameters, "Steps", p.steps, int)
    p.sampler_name = parameters.get("Sampler", p.sampler_name)
    checkpoint = checkpoints.find(parameters.get("Model hash"))
    if checkpoint is not None:
        p.override_settings["sd_model_checkpoint"] = checkpoint.name


def read_number(parameters: dict[str, Any], key: str, default: Any, kind: type) -> Any:
    """Returns a number of the parameters; the default where it is missing, or, with a warning, cannot be read."""
    try:
        return kind(parameters.get(key, default))
    except (TypeError, ValueError):
        logger.warning("img2img batch: %s %r is no number; that of the form is used", key, parameters[key])
        return default


def join_prompts(prompt: str, addition: str | None) -> str:
    """Returns a prompt with what is added to it."""
    return f"{prompt} {addition}" if addition else prompt


def process_batch(
    p: StableDiffusionProcessingImg2Img,
    input: str | Sequence[Any],
    output_dir: str,
    inpaint_mask_dir: str,
    args: Sequence[Any],
    to_scale: bool = False,
    scale_by: float = 1.0,
    use_png_info: bool = False,
    png_info_props: Sequence[str] | None = None,
    png_info_dir: str | None = None,
) -> Processed | None:
    """Runs a job on each image of a directory or list of files; extensions replace this function.

    inpaint_mask_dir: masks by equal stem, or one for all; images without one are left out. output_dir: where results
    go under the names of their inputs; empty: as for any job. Returns the results, up to the setting
    img2img_batch_show_results_limit, or None.
    """
    processing.fix_seed(p)
    paths = batch_paths(input)
    run_files.keep(paths)
    masks = sorted(shared.listfiles(inpaint_mask_dir)) if inpaint_mask_dir else []
    png_info = PngInfo(png_info_props or (), png_info_dir) if use_png_info else PngInfo()
    logger.info("img2img batch: %d pictures, %d new ones for each", len(paths), p.n_iter * p.batch_size)
    state.job_count = len(paths) * p.n_iter

    results: Processed | None = None
    failure: Exception | None = None
    for path, image in batch_images(p, paths):
        mask = mask_for(path, masks)
        if masks and mask is None:
            leave_out(p, path, "there is no mask of that name")
            continue
        try:
            job = copy_of_job(p)
            take_parameters(job, png_info.parameters_of(path, image))
            prepare_batch_job(job, image, path, output_dir.strip(), scale_by if to_scale else None)
            if mask is not None:
                job.image_mask = images.read(mask)
            results = add_results(results, run_batch_job(job, args))
        except FAILURES as e:
            failure = e
            leave_out(p, path, e)
    if results is None and failure is not None:
        raise failure
    if results is not None:
        results.comments = "".join(f"{comment}\n" for comment in p.comments)
    return results


def leave_out(p: StableDiffusionProcessingImg2Img, path: str, reason: object) -> None:
    """Tells in log and result that a batch goes on without one of its images."""
    logger.warning("%s is left out: %s", path, reason)
    p.comment(f"{os.path.basename(path)} is left out: {reason}")


def batch_paths(input: str | Sequence[Any]) -> list[str]:
    """Returns the files of a batch: images below a directory in natural order, or a list of paths or uploads."""
    if isinstance(input, str):
        return list(shared.walk_files(input, BATCH_SUFFIXES))
    return [os.path.abspath(getattr(file, "name", file)) for file in input]


def batch_images(p: StableDiffusionProcessingImg2Img, paths: Sequence[str]) -> Iterator[tuple[str, Image.Image]]:
    """Yields the images of a batch, until it is interrupted; files that are none are left out."""
    for number, path in enumerate(paths, 1):
        state.job = f"{number} out of {len(paths)}"
        state.skipped = False
        if state.interrupted or state.stopping_generation:
            return
        try:
            yield path, images.read(path)
        except FAILURES as e:
            leave_out(p, path, e)


def mask_for(path: str, masks: Sequence[str]) -> str | None:
    """Returns the mask of the same stem, or the only one there is."""
    if len(masks) == 1:
        return masks[0]
    return next((mask for mask in masks if Path(mask).stem == Path(path).stem), None)


def prepare_batch_job(
    p: StableDiffusionProcessingImg2Img, image: Image.Image, path: str, output_dir: str, scale_by: float | None
) -> None:
    """Gives a job its image, size and, with an output directory, file names."""
    if scale_by is not None:
        p.width, p.height = int(image.width * scale_by), int(image.height * scale_by)
    p.init_images = [image] * p.batch_size
    if output_dir:
        stem = Path(path).stem
        is_single = p.n_iter == 1 and p.batch_size == 1
        p.outpath_samples = output_dir
        p.override_settings["save_to_dirs"] = False
        p.override_settings["save_images_replace_action"] = "Add number suffix"
        p.override_settings["samples_filename_pattern"] = stem if is_single else f"{stem}-[generation_number]"


def run_batch_job(p: StableDiffusionProcessingImg2Img, args: Sequence[Any]) -> Processed:
    """Runs the selected script, or the job itself, whose result replaces a file of the same name."""
    processed = scripts.scripts_img2img.run(p, *args)
    if processed is not None:
        return processed
    p.override_settings.pop("save_images_replace_action", None)
    return processing.process_images(p)


def add_results(results: Processed | None, new: Processed) -> Processed:
    """Returns the results so far with those of one more job, cut to the number the user wants to see."""
    new.infotexts = [record.infotext for record in records_of(new)[: len(new.images)]]
    if results is None:
        results = new
    else:
        for name in ("images", "infotexts", "all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds"):
            setattr(results, name, [*getattr(results, name), *getattr(new, name)])
    limit = int(opts.img2img_batch_show_results_limit)
    if limit >= 0:
        del results.images[limit:], results.infotexts[limit:]
    return results


def as_seen(image: Image.Image | None) -> Image.Image | None:
    """Returns an image turned as its camera says; None stays None."""
    return None if image is None else images.fix_image(image)


def image_and_mask(values: Img2ImgValues) -> tuple[Image.Image | None, Image.Image | None]:
    """Returns the image and the mask of the chosen mode; images as they are meant to be seen."""
    mode = MODES[values.mode]
    if mode == "img2img":
        return as_seen(values.init_img), None
    if mode == "sketch":
        return as_seen(values.sketch), None
    if mode == "inpaint" and values.init_img_with_mask is not None:
        masked = values.init_img_with_mask
        return as_seen(masked["image"]), processing.create_binary_mask(masked["mask"])
    if mode == "inpaint_sketch" and values.inpaint_color_sketch is not None:
        return painted_over(values)
    if mode == "inpaint_upload":
        return as_seen(values.init_img_inpaint), values.init_mask_inpaint
    return None, None


def painted_over(values: Img2ImgValues) -> tuple[Image.Image, Image.Image]:
    """Returns a sketch blended with its original by the user's opacity, and the mask of what differs between them."""
    sketch, original = values.inpaint_color_sketch, values.inpaint_color_sketch_orig
    if isinstance(sketch, dict):
        sketch, original = sketch["image"], sketch["original"]
    sketch = as_seen(sketch).convert("RGB")
    original = (original or sketch).convert("RGB")
    original = original if original.size == sketch.size else original.resize(sketch.size)
    differs = np.any(np.array(sketch) != np.array(original), axis=-1)
    mask = Image.fromarray(differs.astype(np.uint8) * 255, "L")
    mask = ImageEnhance.Brightness(mask).enhance(1 - values.mask_alpha / 100)
    blur = ImageFilter.GaussianBlur(values.mask_blur)
    return Image.composite(sketch.filter(blur), original, mask.filter(blur)), mask


def img2img_request(
    id_task: str, request: gr.Request, values: Img2ImgValues, image: Image.Image | None, mask: Image.Image | None
) -> JobRequest:
    """Returns the job of the tab's values."""
    size = {}
    if values.selected_scale_tab == 1 and not values.is_batch:
        size = {"width": int(image.width * values.scale_by), "height": int(image.height * values.scale_by)}
    runner = scripts.scripts_img2img
    job = tab_request("img2img", id_task, request, values, runner, init_images=[image], mask=mask, **size)
    return replace(job, batch=batch_request(values)) if values.is_batch else job


def batch_request(values: Img2ImgValues) -> ImageBatch:
    """Returns what the batch mode works on: uploaded files, or directories where the page may name them."""
    is_upload = values.img2img_batch_source_type == "upload"
    if not is_upload and shared.cmd_opts.hide_ui_dir_config:
        raise errors.InvalidInput(
            "Batch from a directory is switched off here (--hide-ui-dir-config)", field="img2img_batch_input_dir"
        )
    if values.img2img_batch_use_png_info and values.img2img_batch_png_info_dir and shared.cmd_opts.hide_ui_dir_config:
        raise errors.InvalidInput(
            "A directory with PNG info cannot be chosen here (--hide-ui-dir-config)", field="img2img_batch_png_info_dir"
        )
    source = values.img2img_batch_input_dir
    if not is_upload and not os.path.isdir(source):
        raise errors.InvalidInput(f"The input directory {source!r} does not exist", field="img2img_batch_input_dir")
    uploads = [str(getattr(file, "name", file)) for file in values.img2img_batch_upload or []]
    return ImageBatch(
        uploads if is_upload else source,
        "" if is_upload else values.img2img_batch_output_dir,
        "" if is_upload else values.img2img_batch_inpaint_mask_dir,
        values.scale_by if values.selected_scale_tab == 1 else None,
        values.img2img_batch_png_info_props if values.img2img_batch_use_png_info else None,
        values.img2img_batch_png_info_dir,
    )


def run_batch(p: StableDiffusionProcessingImg2Img, batch: ImageBatch) -> Processed:
    """Runs a job on each image of a batch. An empty batch has an empty result."""
    processed = process_batch(
        p,
        batch.source,
        batch.output_dir,
        batch.mask_dir,
        p.script_args,
        to_scale=batch.scale_by is not None,
        scale_by=batch.scale_by if batch.scale_by is not None else 1.0,
        use_png_info=batch.png_info is not None,
        png_info_props=batch.png_info,
        png_info_dir=batch.png_info_dir,
    )
    return processed if processed is not None else Processed(p, [], p.seed, "")


ProcessingRunner.run_batch = staticmethod(run_batch)


def tab_job(id_task: str, request: gr.Request, values: Img2ImgValues) -> JobRequest:
    """Returns the job of the tab. Raises InvalidInput when the chosen mode has no image."""
    image, mask = image_and_mask(values)
    if image is None and not values.is_batch:
        raise errors.InvalidInput("There is no picture to work on: add one above.", field="init_images")
    return img2img_request(id_task, request, values, image, mask)


request_of_call = named_values(Img2ImgValues)(tab_job)
"""Returns the job that `img2img` runs when it is called with the same."""


@named_values(Img2ImgValues)
def img2img(id_task: str, request: gr.Request, values: Img2ImgValues) -> tuple[list, str, str, str]:
    """Generates from the values of the tab: gallery, generation info, infotext, log.

    Raises InvalidInput when the chosen mode has no image.
    """
    return result_outputs(run(tab_job(id_task, request, values)))
