"""face: how routes wait for a job: prepared and answered in a thread of the pool, with no thread held in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from modules import call_queue
from modules.job.queue import Job

if TYPE_CHECKING:
    from modules.job.request import JobRequest


@dataclass(frozen=True)
class Plan:
    """A request that has been checked: what is to run as a job, and how its result becomes the answer.

    name: what `state.job` shows. work: runs with the device. answer: makes the body of the response of what `work`
    returns. task_id: what clients poll for. request: the job as data, where it is more than a function.
    """

    name: str
    work: Callable[[], Any]
    answer: Callable[[Any], Any]
    task_id: str | None = None
    request: JobRequest | None = None


async def carry_out(request: Request, prepare: Callable[..., Plan], *args: Any) -> Any:
    """Runs what `prepare(*args)` plans as a job of the queue and returns the answer."""

    def submit() -> tuple[Plan, Job]:
        """Prepares the job and queues it, in one thread, so that requests queue in the order they are ready."""
        plan = prepare(*args)
        return plan, call_queue.submit(plan.name, plan.work, plan.task_id, plan.request)

    plan, job = await run_in_threadpool(submit)
    try:
        result = await until_over(job, request)
    finally:
        del job  # an error's traceback holds this frame, and the job's future holds the error
    return await run_in_threadpool(plan.answer, result)


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
