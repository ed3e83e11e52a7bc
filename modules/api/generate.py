"""face: from a generation request to its answer: the request becomes a processing object, runs as a job, and its
pictures are encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from modules import call_queue, processing, progress, scripts, sd_samplers, shared
from modules.api import infotext_fields, limits, script_args
from modules.api.image_codec import decode_base64_to_image, to_json_image
from modules.errors import InvalidInput, NotFound
from modules.scripts import Script, ScriptRunner

API_ONLY = (
    "comments",
    "script_name",
    "script_args",
    "alwayson_scripts",
    "infotext",
    "send_images",
    "save_images",
    "include_init_images",
    "sampler_index",
)
"""Fields of a body that are no fields of the request; `comments` is known and has never had an effect."""


PICTURES = ("mask", "latent_mask", "firstpass_image")
"""Request fields that hold a picture as text; empty text is none."""


def prepare(request: BaseModel, tabname: str, runner: ScriptRunner) -> tuple[list, Script | None]:
    """Completes and checks a request; returns the argument list of the scripts and the selected one."""
    infotext_args = infotext_fields.apply_infotext(request, tabname, runner)
    limits.replace_nulls(request)
    limits.check(request)
    return script_args.assemble(request, runner, infotext_args)


def processing_arguments(request: BaseModel) -> dict[str, Any]:
    """Constructor arguments of the processing object: sampler and schedule resolved, pictures decoded, and saving
    decided by `save_images`.
    """
    sampler, scheduler = sd_samplers.get_sampler_and_scheduler(
        request.sampler_name or request.sampler_index, request.scheduler
    )
    arguments = {name: getattr(request, name) for name in type(request).model_fields if name not in API_ONLY}
    for name in PICTURES:
        if name in arguments:
            arguments[name] = decode_base64_to_image(arguments[name]) if arguments[name] else None
    arguments["sampler_name"] = sampler
    if not request.scheduler and scheduler != "Automatic":
        arguments["scheduler"] = scheduler
    arguments["do_not_save_samples"] = arguments["do_not_save_grid"] = not request.save_images
    return arguments


def run_job(
    p: processing.StableDiffusionProcessing, runner: ScriptRunner, args: list, script: Script | None
) -> processing.Processed:
    """Runs the selected script, or the plain job, on `p`."""
    p.is_api = True
    p.scripts = runner
    if script is not None:
        p.script_args = args
        processed = runner.run(p, *args)
        if processed is not None:
            return processed
    p.script_args = tuple(args)
    return processing.process_images(p)


def answer(request: BaseModel, processed: processing.Processed, parameters: dict[str, Any]) -> dict[str, Any]:
    """The body of the response."""
    return {
        "images": [to_json_image(image) for image in processed.images] if request.send_images else [],
        "parameters": parameters,
        "info": processed.js(),
    }


@dataclass(frozen=True)
class Generation:
    """A request that has been checked: what is to run as a job, and how its result becomes the answer."""

    name: str
    """What `state.job` shows while it runs."""
    task_id: str
    work: Callable[[], processing.Processed]
    """Runs the job; the caller holds the device meanwhile."""
    answer: Callable[[processing.Processed], dict[str, Any]]
    """Makes the body of the response."""


def prepare_txt2img(request: BaseModel) -> Generation:
    """Checks a txt2img request and decodes its images."""
    runner = scripts.scripts_txt2img
    args, script = prepare(request, "txt2img", runner)
    arguments = processing_arguments(request)
    if request.enable_hr and request.denoising_strength is None:
        raise InvalidInput(
            "denoising_strength is missing: the hires pass needs one, for example 0.7", field="denoising_strength"
        )

    def work() -> processing.Processed:
        """Runs the request on the current model."""
        with closing(processing.StableDiffusionProcessingTxt2Img(sd_model=shared.sd_model, **arguments)) as p:
            p.outpath_samples = shared.opts.outdir_txt2img_samples
            p.outpath_grids = shared.opts.outdir_txt2img_grids
            return run_job(p, runner, args, script)

    task_id = request.force_task_id or progress.create_task_id("txt2img")
    return Generation(
        "scripts_txt2img", task_id, work, lambda processed: answer(request, processed, request.model_dump())
    )


def prepare_img2img(request: BaseModel) -> Generation:
    """Checks an img2img request and decodes its images."""
    if request.init_images is None:
        raise NotFound("Init image not found", field="init_images")
    runner = scripts.scripts_img2img
    args, script = prepare(request, "img2img", runner)
    arguments = processing_arguments(request)
    arguments["init_images"] = [decode_base64_to_image(text) for text in request.init_images]

    def work() -> processing.Processed:
        """Runs the request on the current model."""
        with closing(processing.StableDiffusionProcessingImg2Img(sd_model=shared.sd_model, **arguments)) as p:
            p.outpath_samples = shared.opts.outdir_img2img_samples
            p.outpath_grids = shared.opts.outdir_img2img_grids
            return run_job(p, runner, args, script)

    def body(processed: processing.Processed) -> dict[str, Any]:
        """Answers with the images that were sent only if `include_init_images` asks for them."""
        parameters = request.model_dump()
        if not request.include_init_images:
            parameters |= {"init_images": None, "mask": None}
        return answer(request, processed, parameters)

    task_id = request.force_task_id or progress.create_task_id("img2img")
    return Generation("scripts_img2img", task_id, work, body)


def carry_out(generation: Generation) -> dict[str, Any]:
    """Runs a checked request as a job of its own and makes the answer."""
    with call_queue.gpu_job(generation.name, generation.task_id):
        processed = generation.work()
    return generation.answer(processed)
