"""face: clicks of the page as jobs that are written down like those of clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from modules import jobs, shared
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


def submitter(request_of: RequestOf) -> Callable[..., Job]:
    """Returns what queues the calls of a handler for `call_queue.wrap_gradio_gpu_call`."""
    return partial(submit, request_of)


def submit(request_of: RequestOf, name: str, work: Callable[[], Any], id_task: str | None, args: tuple) -> Job:
    """Writes down and queues one call of a handler. Raises what making its request raises."""
    request = request_of(*args)
    plan = Plan(name, work, lambda outputs, images: outputs, shown_images, id_task, request)
    text = str(request.fields.get("prompt") or "")
    said = request_json.to_json(request)
    return jobs.journal().submit(plan, Asked(request.kind, said and {"page": said}, text, request.user))


def shown_images(outputs: Any) -> list[ResultImage]:
    """Returns the images in what a tab shows of a result: those of its gallery, which comes first."""
    shown = outputs[0] or []
    return with_records(shown, [record_of(image) for image in shown], shared.opts.samples_format)


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


SOURCES["page"] = Source(make_plan, again)
