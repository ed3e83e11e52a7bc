"""job: what is queued, what runs, what is done, as the page's progress bar and the restoring of a reloaded page see it.

Tasks are the jobs of `queue` that somebody polls for by their ids, and those that extensions work off in threads of
their own and note here. The HTTP route that serves `progressapi` belongs to the page.
"""

from __future__ import annotations

import base64
import io
import time
from collections import deque
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, Field

from modules import shared
from modules.job.queue import Job, JobQueue, create_task_id  # noqa: F401  # create_task_id: A1111 name
from modules.shared_state import State


class PendingTasksResponse(BaseModel):
    size: int = Field(title="Pending task size")
    tasks: list[str] = Field(title="Pending task ids")


class ProgressRequest(BaseModel):
    id_task: str | None = Field(default=None, title="Task ID", description="id of the task to get progress for")
    id_live_preview: int = Field(
        default=-1, title="Live preview image ID", description="id of the last preview the page has received"
    )
    live_preview: bool = Field(default=True, title="Include live preview", description="whether to send a preview")


class ProgressResponse(BaseModel):
    active: bool = Field(title="Whether the task is being worked on right now")
    queued: bool = Field(title="Whether the task is in queue")
    completed: bool = Field(title="Whether the task has already finished")
    progress: float | None = Field(default=None, title="Progress", description="Share that is done, from 0 to 1")
    eta: float | None = Field(default=None, title="ETA in secs")
    live_preview: str | None = Field(default=None, title="Live preview image", description="A data URI")
    id_live_preview: int | None = Field(
        default=None, title="Live preview image ID", description="Send this with the next request"
    )
    textinfo: str | None = Field(default=None, title="Info text", description="Text shown in the progress bar")


finished_limit = 16
"""The number of ids of finished tasks that are remembered."""

recorded_results_limit = 2
"""The number of results that are kept for a page that was reloaded while its job ran."""


def job_progress() -> float:
    """Returns the done share of the job that this process runs, 0..1."""
    return shared.state.share()


def state_of(job: Job | None) -> State:
    """Returns the state of a job, which another process may carry out."""
    return shared.state if job is None or job.watched is None else cast(State, job.watched)


def shown_state() -> State:
    """Returns the state that is shown to those who name no job: of the one that has this device, else of the last to
    come of those that other processes carry out.
    """
    begun = queue.running_jobs()
    return state_of(queue.running() or (begun[-1] if begun else None))


def has_logins() -> bool:
    """Tells whether users log in, to the page or to the API."""
    flags = shared.cmd_opts
    return bool(flags.gradio_auth or flags.gradio_auth_path or flags.api_auth)


queue = JobQueue(job_progress, has_logins)
"""The queue of the device of this process."""

recorded_results: list[tuple[str, Any]] = []


@dataclass
class NotedTask:
    """A task that is no job of the queue: an extension works it off, inside `call_queue.queue_lock`, and notes it."""

    id: str
    since: float
    is_running: bool = False


noted: dict[str, NotedTask] = {}
noted_finished: deque[NotedTask] = deque(maxlen=finished_limit)


class PendingTasks(MutableMapping[str, float]):
    """The ids of the tasks that wait and the times since when, first come first.

    Assigning notes a task; deleting no longer shows one, though a job of the queue still gets its turn.
    """

    def __getitem__(self, id_task: str) -> float:
        return self._times()[id_task]

    def __setitem__(self, id_task: str, since: float) -> None:
        if id_task not in self:
            noted[id_task] = NotedTask(id_task, since)

    def __delitem__(self, id_task: str) -> None:
        if id_task not in self:
            raise KeyError(id_task)
        noted.pop(id_task, None)
        for job in queue.waiting():
            if job.id == id_task:
                job.is_listed = False

    def __iter__(self) -> Iterator[str]:
        return iter(self._times())

    def __len__(self) -> int:
        return len(self._times())

    def _times(self) -> dict[str, float]:
        jobs = [(job.submitted, job.id) for job in queue.waiting() if job.is_listed]
        others = [(task.since, task.id) for task in list(noted.values()) if not task.is_running]
        ordered = sorted(jobs + others, key=lambda pair: pair[0]) if others else jobs
        return {id_task: since for since, id_task in ordered}


pending_tasks = PendingTasks()


def __getattr__(name: str) -> Any:
    """Returns `current_task`, the id of the running task, None while there is none, or `finished_tasks`, the ids of
    those that are over.
    """
    if name == "current_task":
        return _current_task()
    if name == "finished_tasks":
        return _finished_tasks()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _current_task() -> str | None:
    task = next((task for task in list(noted.values()) if task.is_running), None)
    if task is not None:
        return task.id
    job = queue.running() or next(iter(queue.running_jobs()), None)
    return job.id if job is not None and job.is_task else None


def _is_running(id_task: str | None) -> bool:
    """Tells whether a task is being worked on, by this process or another."""
    return id_task == _current_task() or any(job.id == id_task and job.is_task for job in queue.running_jobs())


def _finished_tasks() -> list[str]:
    jobs = [(job.ended, job.id) for job in queue.over() if job.is_task]
    others = [(task.since, task.id) for task in list(noted_finished)]
    return [id_task for _, id_task in sorted(jobs + others)][-finished_limit:]


def add_task_to_queue(id_job: str) -> None:
    """Notes that a task waits for its turn."""
    pending_tasks[id_job] = time.time()


def start_task(id_task: str | None) -> None:
    """Notes that a task's turn has come, and that no other noted one runs."""
    for task in [task for task in list(noted.values()) if task.is_running]:
        noted.pop(task.id, None)
    if id_task is None or _is_job(id_task):
        return
    task = noted.setdefault(id_task, NotedTask(id_task, time.time()))
    task.is_running = True


def finish_task(id_task: str | None) -> None:
    """Notes that the running task is over, whatever its outcome."""
    task = noted.get(id_task) if id_task is not None else None
    if task is not None and task.is_running:
        del noted[task.id]
    if id_task is not None and not _is_job(id_task):
        noted_finished.append(NotedTask(id_task, time.time()))


def _is_job(id_task: str) -> bool:
    """Says whether the queue knows the task, so that there is nothing to note."""
    return queue.find(id_task) is not None


def record_results(id_task: str, res: Any) -> None:
    """Keeps a result, so that a page that lost its connection can fetch it with `restore_progress`."""
    recorded_results.append((id_task, res))
    del recorded_results[:-recorded_results_limit]


def recorded_result(id_task: str) -> Any | None:
    """Returns the result that is kept of a task, None when there is none."""
    return next((result for task, result in recorded_results if task == id_task), None)


def is_unfinished(id_task: str) -> bool:
    """Tells whether a task is queued or running."""
    return _is_running(id_task) or id_task in pending_tasks


def get_pending_tasks() -> dict[str, Any]:
    """Returns queue length and ids, first come first."""
    tasks = list(pending_tasks)
    return {"size": len(tasks), "tasks": tasks}


def restore_progress(id_task: str, poll_seconds: float = 0.1) -> Any | None:
    """Waits until a task is no longer queued or running and returns its recorded result, None when there is none."""
    while is_unfinished(id_task):
        time.sleep(poll_seconds)
    return recorded_result(id_task)


def estimate_seconds_left(progress: float, state: State | None = None) -> float | None:
    """Returns the seconds left if a job goes on at its speed so far; None before anything is done.

    state: of the job, by default of the one that this process runs.
    """
    started = (state or shared.state).time_start
    if progress <= 0 or started is None:
        return None
    elapsed = time.time() - started
    return elapsed / progress - elapsed


def progressapi(req: ProgressRequest) -> ProgressResponse:
    """Returns what a page that polls for a task has to know: its place in the queue, or progress, time left and a new
    preview.

    `req.id_live_preview` is the preview the page shows already; a preview is sent only when there is a newer one.
    """
    report = ProgressResponse(
        active=_is_running(req.id_task),
        queued=req.id_task in pending_tasks,
        completed=req.id_task in _finished_tasks(),
        id_live_preview=-1,
    )
    if not report.active:
        report.textinfo = _queue_text(req.id_task) if report.queued else "Waiting..."
        return report

    state = state_of(queue.find(req.id_task) if req.id_task else None)
    report.progress = state.share()
    report.eta = estimate_seconds_left(report.progress, state)
    report.id_live_preview = req.id_live_preview
    report.textinfo = state.textinfo
    if req.live_preview and shared.opts.live_previews_enable:
        state.set_current_image()
        if state.id_live_preview != req.id_live_preview and state.current_image is not None:
            report.live_preview = encode_preview(state.current_image)
            report.id_live_preview = state.id_live_preview
    return report


def _queue_text(id_task: str) -> str:
    waiting = list(pending_tasks)
    return f"In queue: {waiting.index(id_task) + 1}/{len(waiting)}" if id_task in waiting else "Waiting..."


def encode_preview(image: Any) -> str:
    """Returns a preview as a data URI in the format of the setting live_previews_image_format."""
    image_format = shared.opts.live_previews_image_format
    options = {"png": {"optimize": max(image.size) <= 256}, "webp": {"quality": 80}}.get(image_format, {})
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return f"data:image/{image_format};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
