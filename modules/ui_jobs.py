"""face: clicks of the page as jobs that are written down like those of clients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from modules import shared
from modules.api import job_kinds, jobs
from modules.job.journal import Asked
from modules.job.plan import Plan, ResultImage
from modules.job.queue import Job
from modules.job.records import record_of
from modules.job.request import JobRequest

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
    return jobs.journal().submit(plan, Asked(request.kind, job_kinds.page_body(request), text, request.user))


def shown_images(outputs: Any) -> list[ResultImage]:
    """Returns the images in what a tab shows of a result: those of its gallery, which comes first."""
    made = []
    for image in outputs[0] or []:
        record = record_of(image)
        made.append(ResultImage(image, record.infotext, record.file, shared.opts.samples_format))
    return made
