"""face: clicks of the page as jobs that are written down like those of clients.

A click in a generation tab is written down as its `JobRequest`; one in another tab as the values it was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gradio.context import LocalContext
from PIL import Image

from modules import jobs, shared, ui_tempdir
from modules.errors import InvalidInput
from modules.job import request_json
from modules.job.journal import Asked
from modules.job.plan import Plan, ResultImage, with_records
from modules.job.queue import Job
from modules.job.records import record_of
from modules.job.request import JobRequest
from modules.job.sources import SOURCES, Source
from modules.processing_runner import JobResult, ProcessingRunner

RequestOf = Callable[..., JobRequest]
"""What a handler of the page is called with -> the job it asks for."""

ImagesOf = Callable[[Any], list[ResultImage]]
"""What a handler returns -> the images that its job has made."""


@dataclass(frozen=True)
class Form:
    """A tab whose jobs are written down as the values of its controls.

    run: takes them and returns what the tab shows. images: those in that. text: of the values, for the list of jobs.
    controls: has to be the same for the values to mean the same.
    """

    run: Callable[..., Any]
    images: ImagesOf
    text: Callable[..., str]
    controls: Callable[[], Any] = lambda: None


FORMS: dict[str, Form] = {}
"""Kind of job -> its tab; each adds itself."""


def submitter(request_of: RequestOf, images_of: ImagesOf | None = None) -> Callable[..., Job]:
    """Returns what queues the calls of a handler for `call_queue.wrap_gradio_gpu_call`."""
    return partial(submit, request_of, images_of or shown_images)


def submit(
    request_of: RequestOf, images_of: ImagesOf, name: str, work: Callable[[], Any], id_task: str | None, args: tuple
) -> Job:
    """Writes down and queues one call of a handler. Raises what making its request raises."""
    request = request_of(*args)
    plan = Plan(name, work, lambda outputs, images: outputs, images_of, id_task, request)
    text = str(request.fields.get("prompt") or "")
    said, uploads = request_json.without_uploads(request_json.to_json(request), ui_tempdir.is_upload)
    asked = Asked(request.kind, said and {"page": said}, text, request.user, uploads=uploads)
    return jobs.journal().submit(plan, asked)


def submit_form(kind: str, name: str, work: Callable[[], Any], id_task: str | None, args: tuple) -> Job:
    """Writes down and queues one call of the handler of a tab in FORMS, which takes the task's id and the values."""
    _, *values = args
    form, request = FORMS[kind], LocalContext.request.get(None)
    plan = Plan(name, work, lambda outputs, images: outputs, form.images, id_task)
    written = request_json.plain({"values": values, "controls": form.controls()})
    said, uploads = request_json.without_uploads(written, ui_tempdir.is_upload)
    user = None if request is None else request.username
    asked = Asked(kind, said and {"form": said}, form.text(*values), user, uploads=uploads)
    return jobs.journal().submit(plan, asked)


def shown_images(outputs: Any) -> list[ResultImage]:
    """Returns the images in what a tab shows of a result: those of its gallery, which comes first."""
    shown = outputs[0] or []
    return with_records(shown, [record_of(image) for image in shown], shared.opts.samples_format)


def new_images(outputs: Any) -> list[ResultImage]:
    """Returns the images in what a tab shows that were not there before: those that have not come from the page."""
    made = [image for image in outputs[0] or [] if isinstance(image, Image.Image)]
    return with_records(made, [record_of(image) for image in made], shared.opts.samples_format)


def no_images(outputs: Any) -> list[ResultImage]:
    """Returns none."""
    return []


def make_plan(kind: str, said: dict[str, Any]) -> Plan:
    """Returns how a job of the page is run that was written down. Nobody waits for its answer."""
    try:
        request = request_json.from_json(said)
    except TypeError as e:
        raise InvalidInput(f"What this job was asked for was written by another version of the program: {e}") from e
    return Plan(f"scripts_{kind}", ProcessingRunner(request).run, lambda *_: None, result_images, request=request)


def result_images(result: JobResult) -> list[ResultImage]:
    """Returns the images of a result, each with its infotext and its file."""
    return with_records(result.images, result.records, shared.opts.samples_format)


def again(said: dict[str, Any], seeds: Sequence[Any] | None) -> dict[str, Any]:
    """Returns what is written down of a job that is made again: with its seeds, unless a script draws its own."""
    attributes = said["attributes"]
    if seeds and not said["script"]:
        attributes = attributes | {"seed": seeds[0], "subseed": seeds[1]}
    return said | {"attributes": attributes, "task_id": None}


def plan_of_form(kind: str, said: dict[str, Any]) -> Plan:
    """Returns how a job of a tab in FORMS is run that was written down. Nobody waits for its answer."""
    form = FORMS[kind]
    if said["controls"] != request_json.plain(form.controls()):
        raise InvalidInput("The tab has other controls now than when this job was asked for: fill it in anew")
    return Plan(kind, partial(form.run, *request_json.restored(said["values"])), lambda *_: None, form.images)


SOURCES["page"] = Source(make_plan, again)
SOURCES["form"] = Source(plan_of_form, lambda said, seeds: said)
