"""face: jobs over the API: asking for them, looking at them, cancelling, moving, making them again.

Jobs of the classic routes are among them; their answers name theirs in a header.
"""

from __future__ import annotations

import mimetypes
import os
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, StreamingResponse

from modules import jobs
from modules.api import auth, job_kinds, job_view, webhooks
from modules.api.events import events
from modules.api.job_models import JobItem, JobList, JobOrder, JobSubmission, JobsWaiting
from modules.errors import NotFound, NotSaved
from modules.http_paths import OWN_PREFIX
from modules.http_routes import DescribedRoute
from modules.job.journal import NOT_WRITTEN
from modules.job.queue import Job
from modules.job.row import Row, State

MOST_IN_A_PAGE = 1000
MOST_ROWS = 2**53

JOBS = f"{OWN_PREFIX}v1/jobs"
ONE = f"{JOBS}/{{id:path}}"
"""A job: ids may hold slashes, so what goes on after one is asked for first."""

router = APIRouter(tags=["jobs"], route_class=DescribedRoute)


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


def only_user(request: Request) -> str | None:
    """Returns the user whose jobs alone a request may see and change: who has logged in, to the page or to the API.
    None, all, where no login is asked for.
    """
    return getattr(request.state, "page_user", None) or auth.user_of(request)


def row_of(id: str, request: Request) -> Row:
    """Returns the job of an id. Raises NotFound, also for that of somebody else."""
    row = jobs.journal().store.get(id, only_user(request))
    if row is None:
        raise NotFound(f"There is no job {id!r}", field="id")
    return row


def shown(job: Job) -> dict:
    """Returns a job that has just been queued."""
    return job_view.described(job.record.row, job_view.positions())


@router.post(JOBS, status_code=202, response_model=JobItem, summary="Queue a job")
def submit_job(submission: JobSubmission, request: Request) -> dict:
    """Queues a job that nobody waits for."""
    body = job_kinds.body_of(submission.kind, submission.request)
    wishes: dict[str, Any] = {"priority": submission.priority, "after_restart": submission.after_restart}
    if submission.webhook is not None:
        wishes["webhook"] = webhooks.checked(submission.webhook)
    asked = job_kinds.asked(submission.kind, body, auth.user_of(request), **wishes)
    journal = jobs.journal()
    journal.check_limits(asked.user)
    job = journal.submit(job_kinds.KINDS[submission.kind].prepare(body), asked)
    if not job.record.row.number:
        journal.queue.cancel(job)
        raise NotSaved(NOT_WRITTEN)
    return shown(job)


@router.get(JOBS, response_model=JobList, summary="All jobs, page by page")
def list_jobs(
    request: Request,
    state: Annotated[list[State] | None, Query(description="Only those in one of these states.")] = None,
    user: Annotated[str | None, Query(description="Only those of this user.")] = None,
    text: Annotated[str, Query(max_length=1000, description="Words that all have to be in parameters or id.")] = "",
    model: Annotated[str, Query(max_length=1000, description="Only those whose images this checkpoint made.")] = "",
    since: Annotated[float | None, Query(description="Only those asked for then or later, in epoch seconds.")] = None,
    until: Annotated[float | None, Query(description="Only those asked for before, in epoch seconds.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_IN_A_PAGE, description="Jobs in a page.")] = 100,
    offset: Annotated[int, Query(ge=0, le=MOST_ROWS, description="Jobs to leave out before the page.")] = 0,
    oldest_first: Annotated[bool, Query(description="The oldest first, not the latest.")] = False,
) -> dict:
    """Lists jobs of this run of the program and of those before."""
    only = only_user(request) or user
    wanted = {"model": model, "since": since, "until": until, "is_oldest_first": oldest_first}
    rows, total = jobs.journal().store.find(state or (), only, text, limit, offset, **wanted)
    positions = job_view.positions() if any(row.state == State.QUEUED for row in rows) else {}
    return {"jobs": [job_view.described(row, positions) for row in rows], "total": total}


@router.post(JOBS + "/reorder", response_model=JobsWaiting, summary="Put waiting jobs before all others")
def reorder_jobs(order: JobOrder, request: Request) -> dict:
    """Arranges the waiting jobs; those of a higher priority still come first, and users still have their turns."""
    user = only_user(request)
    return {"ids": jobs.journal().arrange(order.ids, user)}


@router.get(f"{ONE}/images/{{n}}", response_class=FileResponse, summary="An image of a job, with its parameters")
def get_job_image(
    id: str, n: int, request: Request, thumbnail: Annotated[bool, Query(description="A small copy of it.")] = False
) -> FileResponse:
    """Sends the file of an image, as it was saved, or as it is kept of a job whose images were not."""
    row = row_of(id, request)
    results = row.results
    if not 0 <= n < len(results):
        raise NotFound(f"n: job {id!r} has {len(results)} images, from 0 on", field="n")
    file = results[n]["file"]
    if file is None or not os.path.isfile(file):
        raise NotFound(
            f"Image {n} of job {id!r} is gone: it was deleted, or cleared by the settings of jobs", field="n"
        )
    if thumbnail:
        with suppress(OSError):  # where there is no room for one the image itself does
            file = jobs.journal().spool.thumbnail(row.number, n, file)
    return FileResponse(file, media_type=mimetypes.guess_type(file)[0] or "application/octet-stream")


@router.get(ONE, response_model=JobItem, summary="One job")
def get_job(id: str, request: Request) -> dict:
    """Shows a job."""
    return job_view.described(row := row_of(id, request), job_view.positions() if row.state == State.QUEUED else {})


@router.delete(ONE, response_model=JobItem, summary="Cancel a job")
def cancel_job(id: str, request: Request) -> dict:
    """Takes a job out of the queue; the running one ends early and keeps what it has made. One that is over stays."""
    jobs.journal().cancel(row_of(id, request))
    return get_job(id, request)


@router.post(f"{ONE}/retry", status_code=202, response_model=JobItem, summary="Make a job again")
def retry_job(id: str, request: Request) -> dict:
    """Queues a job again that is over, with the seeds it had; one that is held is queued itself."""
    return shown(jobs.journal().retry(row_of(id, request)))


@router.get(
    f"{OWN_PREFIX}v1/events",
    response_class=EventStream,
    summary="What happens to jobs, as it happens",
    description="Server-sent events: `job` with a job that was queued, has begun or is over, `progress` of the running "
    "one, `resync` when events are missing and jobs have to be read anew.",
)
async def follow_events(
    request: Request,
    last_event_id: Annotated[str | None, Header(description="The id of the last event that was received.")] = None,
    previews: Annotated[bool, Query(description="With previews of the running job, as data URIs.")] = True,
) -> EventStream:
    """Sends events until the client goes."""
    return EventStream(
        events.follow(last_event_id, previews, only_user(request)), headers={"Cache-Control": "no-cache"}
    )


def list_models(request: Request) -> list[str]:
    """Names the checkpoints that jobs were made with."""
    return jobs.journal().store.models(only_user(request))


page_router = APIRouter(prefix="/internal", tags=["page"], route_class=DescribedRoute)
"""The same for the page, under its login and without --api: what its panel of jobs needs."""

for path, function, method in (
    ("/jobs", list_jobs, "GET"),
    ("/jobs/reorder", reorder_jobs, "POST"),
    ("/jobs/{id:path}/images/{n}", get_job_image, "GET"),
    ("/jobs/{id:path}/retry", retry_job, "POST"),
    ("/jobs/{id:path}", get_job, "GET"),
    ("/jobs/{id:path}", cancel_job, "DELETE"),
    ("/job-models", list_models, "GET"),
    ("/events", follow_events, "GET"),
):
    page_router.add_api_route(path, function, methods=[method], include_in_schema=False)
