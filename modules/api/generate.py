"""face: from the body of a generation request to its answer: it becomes a `JobRequest`, is run as a job, and the images
are encoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel

from modules import progress, runtime_utils, scripts, sd_samplers, shared
from modules.api import infotext_fields, limits, script_args
from modules.api.image_codec import decode_base64_to_image, decode_images, to_json_images
from modules.errors import InvalidInput, NotFound
from modules.job.plan import Plan, ResultImage, with_records
from modules.job.request import JobRequest
from modules.processing import Processed
from modules.processing_runner import JobResult, ProcessingRunner, values_by_script
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


IMAGES = ("mask", "latent_mask", "firstpass_image")
"""Request fields that hold an image as text; empty text is none."""


class Prepared(NamedTuple):
    """What a complete request has beside its fields: values of scripts, the selected one, and remarks to answer."""

    args: list
    script: Script | None
    remarks: list[str]


def prepare(request: BaseModel, tabname: str, runner: ScriptRunner) -> Prepared:
    """Completes and checks a request."""
    problems: list[str] = []
    infotext_args = infotext_fields.apply_infotext(request, tabname, runner, problems)
    limits.replace_nulls(request)
    limits.check(request)
    problems += sd_samplers.unknown_names(request.sampler_name or request.sampler_index, request.scheduler)
    runtime_utils.read_overrides(request.override_settings)  # refused before it waits
    return Prepared(*script_args.assemble(request, runner, infotext_args), problems)


def request_fields(request: BaseModel) -> dict[str, Any]:
    """Returns the fields of the job: sampler and schedule resolved, images decoded, and saving decided by
    `save_images`.
    """
    sampler, scheduler = sd_samplers.get_sampler_and_scheduler(
        request.sampler_name or request.sampler_index, request.scheduler
    )
    fields = {name: getattr(request, name) for name in type(request).model_fields if name not in API_ONLY}
    for name in IMAGES:
        if name in fields:
            fields[name] = decode_base64_to_image(fields[name]) if fields[name] else None
    fields["sampler_name"] = sampler
    if not request.scheduler and scheduler != "Automatic":
        fields["scheduler"] = scheduler
    fields["do_not_save_samples"] = fields["do_not_save_grid"] = not request.save_images
    return fields


def job_request(
    request: BaseModel, kind: str, fields: dict[str, Any], runner: ScriptRunner, prepared: Prepared
) -> JobRequest:
    """Returns the job a checked request asks for."""
    selected, script_values = values_by_script(runner, prepared.args)
    return JobRequest(
        kind,
        fields,
        script=selected if prepared.script is not None else None,
        script_values=script_values,
        attributes={"comments": dict.fromkeys(prepared.remarks, 1)} if prepared.remarks else {},
        task_id=request.force_task_id or progress.create_task_id(kind),
        is_api=True,
    )


def images_of(result: JobResult) -> list[ResultImage]:
    """Returns the images of a result, each with its infotext and its file."""
    return with_records(result.images, result.records, shared.opts.samples_format)


def answer(
    request: BaseModel, result: JobResult, images: list[ResultImage], parameters: dict[str, Any]
) -> dict[str, Any]:
    """Returns the body of the response. Its parameters name the settings as the job's hooks have left them."""
    if request.override_settings:
        parameters["override_settings"] = result.overrides
    return {
        "images": to_json_images(images) if request.send_images else [],
        "parameters": parameters,
        "info": info_of(result.processed),
    }


def info_of(processed: Processed) -> str:
    """Returns the description of a result; what there is to remark on the request is told under `comments`."""
    remarks = processed.comments
    return json.dumps(json.loads(processed.js()) | {"comments": remarks}) if remarks else processed.js()


def plan(job: JobRequest, answer: Callable[[JobResult, list[ResultImage]], dict[str, Any]]) -> Plan:
    """Returns how a generation is run and answered."""
    return Plan(f"scripts_{job.kind}", ProcessingRunner(job).run, answer, images_of, job.task_id, job)


def prepare_txt2img(request: BaseModel) -> Plan:
    """Checks a txt2img request and decodes its images."""
    runner = scripts.scripts_txt2img
    prepared = prepare(request, "txt2img", runner)
    fields = request_fields(request)
    if request.enable_hr and request.denoising_strength is None:
        raise InvalidInput(
            "denoising_strength is missing: the hires pass needs one, for example 0.7", field="denoising_strength"
        )
    job = job_request(request, "txt2img", fields, runner, prepared)
    return plan(job, lambda result, images: answer(request, result, images, request.model_dump()))


def prepare_img2img(request: BaseModel) -> Plan:
    """Checks an img2img request and decodes its images."""
    if request.init_images is None:
        raise NotFound("Init image not found", field="init_images")
    runner = scripts.scripts_img2img
    prepared = prepare(request, "img2img", runner)
    fields = request_fields(request) | {"init_images": decode_images(request.init_images, "init_images")}

    def body(result: JobResult, images: list[ResultImage]) -> dict[str, Any]:
        """Answers with the images that were sent only if `include_init_images` asks for them."""
        parameters = request.model_dump()
        if not request.include_init_images:
            parameters |= {"init_images": None, "mask": None}
        return answer(request, result, images, parameters)

    return plan(job_request(request, "img2img", fields, runner, prepared), body)
