"""face: the txt2img tab's values become a job, and the job's result what the tab shows. Nothing else."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, make_dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from modules import errors, infotext_utils, processing, scripts
from modules.infotext_utils import create_override_settings_dict
from modules.job.records import ImageRecord, records_in, records_of, with_records
from modules.job.request import FIELDS, JobRequest, Txt2ImgFields, facts
from modules.processing_runner import ProcessingRunner, values_by_script
from modules.shared import opts
from modules.ui_common import infotext_to_html, plaintext_to_html
from modules.ui_form import fields_of, named_values, values_from_list

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)


Txt2ImgValues = make_dataclass(
    "Txt2ImgValues",
    [
        *("prompt", "negative_prompt", "prompt_styles", "n_iter", "batch_size", "cfg_scale", "height", "width"),
        *("enable_hr", "denoising_strength"),
        *facts(Txt2ImgFields, "page"),
        *("override_settings_texts", "script_args"),
    ],
    frozen=True,
)
"""What the tab sends, in this order. Sampler, steps, seed and refiner are controls of scripts, so in script_args."""


def tab_request(
    kind: str, id_task: str, request: gr.Request | None, values: Any, runner: scripts.ScriptRunner, **fields: Any
) -> JobRequest:
    """Returns the job that a tab's values ask for. fields: what is not among the values, or is something else."""
    script, script_values = values_by_script(runner, values.script_args)
    return JobRequest(
        kind,
        fields_of(values, FIELDS[kind])
        | {
            "styles": values.prompt_styles,
            "override_settings": create_override_settings_dict(values.override_settings_texts),
        }
        | fields,
        script=script,
        script_values=script_values,
        user=request.username if request is not None else None,
        task_id=id_task,
    )


def txt2img_request(
    id_task: str, request: gr.Request, values: Txt2ImgValues, force_enable_hr: bool = False
) -> JobRequest:
    """Returns the job of the tab's values. force_enable_hr: with a hires pass whatever its checkbox says."""
    enable_hr = force_enable_hr or values.enable_hr
    return tab_request("txt2img", id_task, request, values, scripts.scripts_txt2img, enable_hr=enable_hr)


@named_values(Txt2ImgValues)
def txt2img_create_processing(
    id_task: str, request: gr.Request, values: Txt2ImgValues, force_enable_hr: bool = False
) -> processing.StableDiffusionProcessing:
    """Returns the processing object of the tab's values, not yet run."""
    return ProcessingRunner(txt2img_request(id_task, request, values, force_enable_hr)).create()


def result_outputs(processed: processing.Processed) -> tuple[list, str, str, str]:
    """Returns what a tab shows of a result: images, its description as JSON, infotext and comments as HTML."""
    description = with_records(processed)
    generation_info_js = json.dumps(description)
    if opts.samples_log_stdout:
        logger.info(generation_info_js)
    images = [] if opts.do_not_show_images else processed.images + processed.extra_images
    return (
        images,
        generation_info_js,
        infotext_to_html(processed.info or next((row["infotext"] for row in description["records"]), "")),
        plaintext_to_html(processed.comments, classname="comments"),
    )


def run(job: JobRequest) -> processing.Processed:
    """Runs a job of the page, with its prompt in the console if that is wanted."""
    if opts.enable_console_prompts:
        logger.info("%s: %s", job.kind, job.fields["prompt"])
    return ProcessingRunner(job).run().processed


def request_of_call(id_task: str, request: gr.Request, *args: Any) -> JobRequest:
    """Returns the job that `txt2img` runs when it is called with the same."""
    return txt2img_request(id_task, request, values_from_list(Txt2ImgValues, args))


def txt2img(id_task: str, request: gr.Request, *args: Any) -> tuple[list, str, str, str]:
    """Generates from the values of the tab (`Txt2ImgValues`, in order): gallery, generation info, infotext, log."""
    return result_outputs(run(request_of_call(id_task, request, *args)))


def upscale_request(request: JobRequest, image: Image.Image, record: ImageRecord) -> JobRequest:
    """Returns the job that makes the hires pass of one finished image; record: of that image."""
    # An image without infotext is resized by its own size, so that the hires pass starts from what is shown.
    attributes = {
        "batch_size": 1,
        "n_iter": 1,
        "firstpass_image": image,
        "width": image.width,
        "height": image.height,
        "txt2img_upscale": True,
        "seed": -1 if record.seed is None else record.seed,
        "subseed": -1 if record.subseed is None else record.subseed,
    }
    overrides = request.overrides | {"save_images_before_highres_fix": False}
    return replace(request, fields=request.fields | {"override_settings": overrides}, attributes=attributes)


def upscale_request_of_call(
    id_task: str, request: gr.Request, gallery: list, gallery_index: int, generation_info: str, *args: Any
) -> JobRequest:
    """Returns the job that `txt2img_upscale` runs when it is called with the same. Raises InvalidInput when there is no
    such image.
    """
    if not gallery:
        raise errors.InvalidInput("There is no picture to upscale: generate one first.", field="gallery")
    if not 0 <= gallery_index < len(gallery):
        raise errors.InvalidInput("Select a picture of the gallery to upscale first.", field="gallery_index")
    job = txt2img_request(id_task, request, values_from_list(Txt2ImgValues, args), force_enable_hr=True)
    image = infotext_utils.image_from_url_text(gallery[gallery_index])
    return upscale_request(job, image, records_in(json.loads(generation_info), len(gallery))[gallery_index])


def txt2img_upscale(
    id_task: str, request: gr.Request, gallery: list, gallery_index: int, generation_info: str, *args: Any
) -> tuple[list, str, str, str]:
    """Makes the hires pass of one image of the gallery and puts the result in its place.

    Everything but the image, its seed and its variation seed is taken from the tab as it is now.
    Raises InvalidInput when there is no such image.
    """
    job = upscale_request_of_call(id_task, request, gallery, gallery_index, generation_info, *args)
    info = json.loads(generation_info)
    records = records_in(info, len(gallery))
    processed = run(job)
    images = [entry[0] if isinstance(entry, (tuple, list)) else entry for entry in gallery]
    first = processed.index_of_first_image
    if processed.images[first:]:  # not when interrupted
        images[gallery_index] = processed.images[first]
        records[gallery_index] = records_of(processed)[first]
    info["records"] = [asdict(record) for record in records]
    info["infotexts"] = [record.infotext for record in records]
    return (
        images,
        json.dumps(info),
        infotext_to_html(processed.info),
        plaintext_to_html(processed.comments, classname="comments"),
    )
