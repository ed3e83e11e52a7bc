"""job: one job at a time, first come first served, whoever asks: the page, the API, a script.

`gpu_job` is the one wrapper every job runs in; the wrap_* functions put it, and the page's error and timing lines,
around a Gradio handler.
"""

from __future__ import annotations

import html
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from modules import devices, errors, fifo_lock, progress, shared

logger = logging.getLogger(__name__)

queue_lock = fifo_lock.FIFOLock()


@contextmanager
def gpu_job(job: str, id_task: str | None = None) -> Iterator[None]:
    """Waits for the device, marks the job as begun and, whatever happens, as ended.

    job: text shown as `state.job`. id_task: what pages and clients poll for; it counts as queued from the moment this
    is entered.
    Raises OutOfMemory in place of torch's own error, after the memory has been given back, so that the server goes on
    serving.
    """
    if id_task is not None:
        progress.add_task_to_queue(id_task)
    try:
        queue_lock.acquire()
    except BaseException:
        progress.pending_tasks.pop(id_task, None)
        raise
    try:
        shared.state.begin(job=job)
        progress.start_task(id_task)
        yield
    except RuntimeError as e:
        if not devices.is_out_of_memory(e):
            raise
        devices.torch_gc()
        raise errors.OutOfMemory(
            "The device ran out of memory: ask for a smaller picture or batch, or start with --medvram."
        ) from e
    finally:
        progress.finish_task(id_task)
        shared.state.skipped = shared.state.interrupted = shared.state.stopping_generation = False
        shared.state.end()
        shared.total_tqdm.clear()
        queue_lock.release()


def wrap_queued_call(func: Callable) -> Callable:
    """Runs `func` while no job runs, without being a job itself (for example a rescan of the model folder)."""

    @wraps(func)
    def queued(*args: Any, **kwargs: Any) -> Any:
        with queue_lock:
            return func(*args, **kwargs)

    return queued


def task_id_of(args: tuple) -> str | None:
    """The page sends the id of its task as the first argument: "task(...)"."""
    first = args[0] if args else None
    return first if isinstance(first, str) and first.startswith("task(") and first.endswith(")") else None


def wrap_gradio_gpu_call(func: Callable, extra_outputs: list | None = None) -> Callable:
    """A Gradio handler that runs as a job: queued, with progress, and with its result kept for a page that is reloaded
    meanwhile.
    """

    @wraps(func)
    def job(*args: Any, **kwargs: Any) -> Any:
        id_task = task_id_of(args)
        with gpu_job(id_task or func.__name__, id_task):
            result = func(*args, **kwargs)
            if id_task is not None:
                progress.record_results(id_task, result)
            return result

    return wrap_gradio_call(job, extra_outputs=extra_outputs, add_stats=True)


def wrap_gradio_call(func: Callable, extra_outputs: list | None = None, add_stats: bool = False) -> Callable:
    """A Gradio handler whose error is shown in its last output instead of ending it, with the time and memory it took
    if `add_stats`.

    extra_outputs: what the other outputs become after an error; [None, ""] when not given.
    """

    @wraps(func)
    def call(*args: Any, **kwargs: Any) -> tuple:
        started = time.perf_counter()
        if add_stats:
            shared.mem_mon.monitor()
        try:
            result = list(func(*args, **kwargs))
        except Exception as e:  # the page has to show every error, whatever its kind
            errors.report(f"{func.__name__} failed", exc_info=not isinstance(e, errors.InvalidInput))
            result = [*(extra_outputs if extra_outputs is not None else [None, ""]), error_html(e)]
        if add_stats:
            result[-1] = (result[-1] or "") + stats_html(time.perf_counter() - started)
        return tuple(result)

    return call


def error_html(error: Exception) -> str:
    """The error as the page shows it; the message of a domain error already says what to do."""
    text = str(error) if isinstance(error, errors.WebuiError) else f"{type(error).__name__}: {error}"
    return f"<div class='error'>{html.escape(text)}</div>"


def stats_html(seconds: float) -> str:
    """The line below the infotext: time taken and, on a GPU, the peak of memory used."""
    minutes, rest = divmod(seconds, 60)
    taken = f"{int(minutes)} min. {rest:.1f} sec." if minutes else f"{rest:.1f} sec."
    parts = [f"<p class='time'>Time taken: <wbr><span class='measurement'>{taken}</span></p>"]
    memory = {name: -(value // -(1024 * 1024)) for name, value in shared.mem_mon.stop().items()}
    if memory.get("total"):
        parts.append(vram_html(memory))
    return f"<div class='performance'>{''.join(parts)}</div>"


def vram_html(memory: dict[str, int]) -> str:
    """Peak use of the device's memory; values in MiB."""
    share = 100 * memory["system_peak"] / max(memory["total"], 1)
    rows = [
        ("A", "Active: peak amount of video memory used", f"{memory['active_peak'] / 1024:.2f} GB"),
        ("R", "Reserved: total amount of video memory allocated", f"{memory['reserved_peak'] / 1024:.2f} GB"),
        (
            "Sys",
            "System: peak amount of video memory used by all programs",
            f"{memory['system_peak'] / 1024:.1f}/{memory['total'] / 1024:g} GB</span> ({share:.1f}%)",
        ),
    ]
    spans = [
        f"<span title='{title}'>{name}: <span class='measurement'>{value}</span></span>" for name, title, value in rows
    ]
    return f"<p class='vram'>{', <wbr>'.join(spans)}</p>"


# A1111 names: a handler that is no job never touches the state of the job that may be running.
wrap_gradio_call_no_job = wrap_gradio_call
