"""job: what is queued, what runs, what is done: the bookkeeping behind the page's progress bar and the restoring of a
reloaded page.

Knows tasks by their id only; the HTTP route that serves `progressapi` belongs to the page.
"""

from __future__ import annotations

import base64
import io
import random
import string
import time
from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from modules import shared

finished_limit = 16
"""How many ids of finished tasks are remembered."""

recorded_results_limit = 2
"""How many results are kept for a page that was reloaded while its job ran."""

pending_tasks: OrderedDict[str, float] = OrderedDict()
finished_tasks: list[str] = []
recorded_results: list[tuple[str, Any]] = []
_running = SimpleNamespace(task=None)


def __getattr__(name: str) -> Any:
    """`progress.current_task`: id of the running task, None while there is none."""
    if name == "current_task":
        return _running.task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass
class ProgressReport:
    """One answer to a polling page. `progress` is 0..1, `eta` seconds left, `live_preview` a data URI."""

    active: bool
    queued: bool
    completed: bool
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = None
    id_live_preview: int | None = None
    textinfo: str | None = None


def create_task_id(task_type: str) -> str:
    """A new id of the form "task(txt2img-X7K2P9Q)"."""
    suffix = "".join(random.choices(string.ascii_uppercase + string.digits, k=7))
    return f"task({task_type}-{suffix})"


def add_task_to_queue(id_job: str) -> None:
    """Notes that a task waits for its turn."""
    pending_tasks[id_job] = time.time()


def start_task(id_task: str | None) -> None:
    """Notes that a task's turn has come."""
    _running.task = id_task
    pending_tasks.pop(id_task, None)


def finish_task(id_task: str | None) -> None:
    """Notes that the running task is over, whatever its outcome."""
    if _running.task == id_task:
        _running.task = None
    finished_tasks.append(id_task)
    del finished_tasks[:-finished_limit]


def record_results(id_task: str, res: Any) -> None:
    """Keeps a result, so that a page that lost its connection can fetch it with `restore_progress`."""
    recorded_results.append((id_task, res))
    del recorded_results[:-recorded_results_limit]


def get_pending_tasks() -> dict[str, Any]:
    """Queue length and ids, first come first."""
    tasks = list(pending_tasks)
    return {"size": len(tasks), "tasks": tasks}


def restore_progress(id_task: str, poll_seconds: float = 0.1) -> Any | None:
    """Waits until a task is no longer queued or running and returns its recorded result, None when there is none."""
    while id_task == _running.task or id_task in pending_tasks:
        time.sleep(poll_seconds)
    return next((result for task, result in recorded_results if task == id_task), None)


def job_progress() -> float:
    """Share of the running job that is done, 0..1: finished jobs plus the steps of the one being sampled."""
    state = shared.state
    done = 0.0
    if state.job_count > 0:
        done += state.job_no / state.job_count
        if state.sampling_steps > 0:
            done += state.sampling_step / (state.job_count * state.sampling_steps)
    return min(done, 1.0)


def estimate_seconds_left(progress: float) -> float | None:
    """Seconds left if the job goes on at its speed so far; None before anything is done."""
    if progress <= 0 or shared.state.time_start is None:
        return None
    elapsed = time.time() - shared.state.time_start
    return elapsed / progress - elapsed


def progressapi(id_task: str | None = None, id_live_preview: int = -1, live_preview: bool = True) -> ProgressReport:
    """What a page that polls for `id_task` has to know: its place in the queue, or progress, time left and a new
    preview.

    `id_live_preview` is the preview the page shows already; a preview is sent only when there is a newer one.
    """
    active = id_task == _running.task
    queued = id_task in pending_tasks
    completed = id_task in finished_tasks
    if not active:
        return ProgressReport(
            active, queued, completed, id_live_preview=-1, textinfo=_queue_text(id_task) if queued else "Waiting..."
        )

    progress = job_progress()
    report = ProgressReport(
        active,
        queued,
        completed,
        progress,
        estimate_seconds_left(progress),
        None,
        id_live_preview,
        shared.state.textinfo,
    )
    if live_preview and shared.opts.live_previews_enable:
        shared.state.set_current_image()
        if shared.state.id_live_preview != id_live_preview and shared.state.current_image is not None:
            report.live_preview = encode_preview(shared.state.current_image)
            report.id_live_preview = shared.state.id_live_preview
    return report


def _queue_text(id_task: str) -> str:
    waiting = sorted(pending_tasks, key=pending_tasks.__getitem__)
    return f"In queue: {waiting.index(id_task) + 1}/{len(waiting)}" if id_task in waiting else "Waiting..."


def encode_preview(image: Any) -> str:
    """A preview as a data URI in the format of the setting live_previews_image_format."""
    image_format = shared.opts.live_previews_image_format
    options = {"png": {"optimize": max(image.size) <= 256}, "webp": {"quality": 80}}.get(image_format, {})
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return f"data:image/{image_format};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
