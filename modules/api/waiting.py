"""face: how routes wait for a job: prepared and answered in a thread of the pool, with no thread held in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from modules import call_queue, jobs
from modules.api import auth, job_kinds
from modules.job.plan import Plan
from modules.job.queue import Job


async def carry_out(request: Request, kind: str, body: BaseModel) -> Any:
    """Runs what a request of a kind asks for as a job of the queue, written down, and returns the answer.

    The answer carries the id of the job; its images stay there for a client that was gone when they came.
    """

    def submit() -> tuple[Plan, Job]:
        """Prepares the job and queues it, in one thread, so that requests queue in the order they are ready."""
        asked = job_kinds.asked(kind, body, auth.user_of(request))
        plan = job_kinds.KINDS[kind].prepare(body)
        return plan, jobs.journal().submit(plan, asked)

    plan, job = await run_in_threadpool(submit)
    request.state.job = job.id
    try:
        result = await until_over(job, request)
        images = await asyncio.wrap_future(job.record.kept)
    finally:
        del job  # an error's traceback holds this frame, and the job's future holds the error
    return await run_in_threadpool(plan.answer, result, images)


async def call(name: str, function: Callable[[], Any]) -> Any:
    """Returns what `function` does as soon as no job runs; it is a command, carried out even if its client goes."""
    return await call_queue.submit_call(name, function).outcome()


async def until_over(job: Job, request: Request) -> Any:
    """Waits for a job and returns its result or raises its error.

    A client that goes away while its job is queued gives up its place; one that goes while it runs does not stop it.
    """
    outcome = asyncio.ensure_future(job.outcome())
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait([outcome, gone], return_when=asyncio.FIRST_COMPLETED)
        if not outcome.done():
            call_queue.queue.cancel(job)
        return await outcome
    except asyncio.CancelledError:
        call_queue.queue.cancel(job)
        raise
    finally:
        gone.cancel()
        del job, outcome


async def disconnected(request: Request) -> None:
    """Waits until the client of a request whose body has been read is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
