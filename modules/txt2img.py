"""face: the txt2img tab's values become a job, and the job's result what the tab shows. Nothing else."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules import errors, infotext_utils, processing, scripts
from modules.infotext_utils import create_override_settings_dict, parse_generation_parameters
from modules.shared import opts
from modules.ui_common import infotext_to_html, plaintext_to_html
from modules.ui_form import named_values

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Txt2ImgValues:
    """What the tab sends, in this order. Sampler, steps, seed and refiner are scripts' controls: they are in
    script_args.
    """

    prompt: str
    negative_prompt: str
    prompt_styles: list[str]
    n_iter: int
    batch_size: int
    cfg_scale: float
    height: int
    width: int
    enable_hr: bool
    denoising_strength: float
    hr_scale: float
    hr_upscaler: str
    hr_second_pass_steps: int
    hr_resize_x: int
    hr_resize_y: int
    hr_checkpoint_name: str
    hr_sampler_name: str
    hr_scheduler: str
    hr_prompt: str
    hr_negative_prompt: str
    override_settings_texts: list[str]
    script_args: tuple


def chosen(name: str, placeholder: str) -> str | None:
    """The name, or None for the entry of a menu that stands for "as in the first pass"."""
    return None if name == placeholder else name


@named_values(Txt2ImgValues)
def txt2img_create_processing(
    id_task: str, request: gr.Request, values: Txt2ImgValues, force_enable_hr: bool = False
) -> processing.StableDiffusionProcessingTxt2Img:
    """The job of the tab's values, not yet run. force_enable_hr: with a hires pass whatever its checkbox says."""
    p = processing.StableDiffusionProcessingTxt2Img(
        outpath_samples=opts.outdir_samples or opts.outdir_txt2img_samples,
        outpath_grids=opts.outdir_grids or opts.outdir_txt2img_grids,
        prompt=values.prompt,
        styles=values.prompt_styles,
        negative_prompt=values.negative_prompt,
        batch_size=values.batch_size,
        n_iter=values.n_iter,
        cfg_scale=values.cfg_scale,
        width=values.width,
        height=values.height,
        enable_hr=force_enable_hr or values.enable_hr,
        denoising_strength=values.denoising_strength,
        hr_scale=values.hr_scale,
        hr_upscaler=values.hr_upscaler,
        hr_second_pass_steps=values.hr_second_pass_steps,
        hr_resize_x=values.hr_resize_x,
        hr_resize_y=values.hr_resize_y,
        hr_checkpoint_name=chosen(values.hr_checkpoint_name, "Use same checkpoint"),
        hr_sampler_name=chosen(values.hr_sampler_name, "Use same sampler"),
        hr_scheduler=chosen(values.hr_scheduler, "Use same scheduler"),
        hr_prompt=values.hr_prompt,
        hr_negative_prompt=values.hr_negative_prompt,
        override_settings=create_override_settings_dict(values.override_settings_texts),
    )
    p.scripts = scripts.scripts_txt2img
    p.script_args = values.script_args
    p.user = request.username if request is not None else None
    if opts.enable_console_prompts:
        logger.info("txt2img: %s", values.prompt)
    return p


def run_job(p: processing.StableDiffusionProcessing, runner: Any) -> processing.Processed:
    """Runs a job through the selected script, or directly if there is none."""
    with closing(p):
        processed = runner.run(p, *p.script_args)
        return processed if processed is not None else processing.process_images(p)


def result_outputs(processed: processing.Processed) -> tuple[list, str, str, str]:
    """What a tab shows of a result: pictures, its description as JSON, infotext and comments as HTML."""
    generation_info_js = processed.js()
    if opts.samples_log_stdout:
        logger.info(generation_info_js)
    images = [] if opts.do_not_show_images else processed.images + processed.extra_images
    return (
        images,
        generation_info_js,
        infotext_to_html(processed.info),
        plaintext_to_html(processed.comments, classname="comments"),
    )


def txt2img(id_task: str, request: gr.Request, *args: Any) -> tuple[list, str, str, str]:
    """Generates from the values of the tab (`Txt2ImgValues`, in order): gallery, generation info, infotext, log."""
    p = txt2img_create_processing(id_task, request, *args)
    return result_outputs(run_job(p, scripts.scripts_txt2img))


def txt2img_upscale(
    id_task: str, request: gr.Request, gallery: list, gallery_index: int, generation_info: str, *args: Any
) -> tuple[list, str, str, str]:
    """Makes the hires pass of one picture of the gallery and puts the result in its place.

    Everything but the picture, its seed and its variation seed is taken from the tab as it is now.
    Raises InvalidInput when there is no such picture.
    """
    if not gallery:
        raise errors.InvalidInput("There is no picture to upscale: generate one first.", field="gallery")
    if not 0 <= gallery_index < len(gallery):
        raise errors.InvalidInput("Select a picture of the gallery to upscale first.", field="gallery_index")
    info = json.loads(generation_info)
    infotext = info["infotexts"][gallery_index]
    parameters = parse_generation_parameters(infotext, [])

    p = txt2img_create_processing(id_task, request, *args, force_enable_hr=True)
    p.batch_size = p.n_iter = 1
    # a picture without infotext is resized by its own size, so that the hires pass starts from what is shown
    p.firstpass_image = infotext_utils.image_from_url_text(gallery[gallery_index])
    p.width, p.height = p.firstpass_image.size
    p.txt2img_upscale = True
    p.seed = int(parameters.get("Seed", -1))
    p.subseed = int(parameters.get("Variation seed", -1))
    p.override_settings["save_images_before_highres_fix"] = False

    processed = run_job(p, scripts.scripts_txt2img)
    pictures = [entry[0] if isinstance(entry, (tuple, list)) else entry for entry in gallery]
    pictures[gallery_index : gallery_index + 1] = processed.images[processed.index_of_first_image :][:1]
    info["infotexts"][gallery_index] = processed.infotexts[processed.index_of_first_image]
    return (
        pictures,
        json.dumps(info),
        infotext_to_html(processed.info),
        plaintext_to_html(processed.comments, classname="comments"),
    )
