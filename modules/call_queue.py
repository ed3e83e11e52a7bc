"""job: the doors to the queue of jobs: `submit` for those who wait for a job's result elsewhere, and for extensions
`gpu_job`, `queue_lock` and the wrappers of Gradio handlers.

All of them stand in one line, that of `progress.queue`: one job at a time, first come first served, whoever asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial, wraps
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from modules import cpu_layers, devices, errors, launch_process, progress, shared
from modules.hook_records import records
from modules.job import elsewhere
from modules.job.queue import Job

if TYPE_CHECKING:
    from modules.job.request import JobRequest

queue = progress.queue
queue_lock = queue.line


@contextmanager
def working(name: str) -> Iterator[None]:
    """Marks a job that has got the device as begun and, whatever happens, as ended.

    Raises OutOfMemory in place of torch's own error, after the memory has been given back, so that the server goes on
    serving.
    """
    launch_process.keep_freed_memory()
    try:
        with cpu_layers.with_free_cores() if is_same_with_any_threads() else nullcontext():
            shared.state.begin(job=name)
            yield
    except RuntimeError as e:
        if not devices.is_out_of_memory(e):
            raise
        devices.torch_gc()
        raise errors.OutOfMemory(
            "The device ran out of memory: ask for a smaller image or batch, or start with --medvram."
        ) from e
    finally:
        if (job := queue.running()) is not None and (shared.state.interrupted or shared.state.stopping_generation):
            job.is_interrupted = True
        shared.state.skipped = shared.state.interrupted = shared.state.stopping_generation = False
        shared.state.end()
        shared.total_tqdm.clear()
        devices.main_memory.trim_beside()


def is_same_with_any_threads() -> bool:
    """Returns whether the flags leave it to `cpu_layers` how networks are computed."""
    flags = shared.cmd_opts
    in_float32 = devices.device.type == "cpu" and devices.dtype == torch.float32
    return in_float32 and not flags.torch_compile and not flags.opt_channelslast


@contextmanager
def in_fresh_modes(name: str) -> Iterator[None]:
    """Marks a job as `working`, with torch's modes of a new thread whatever the last job has left behind."""
    with torch.inference_mode(False), torch.enable_grad(), working(name):
        yield


def make_job(name: str, id_task: str | None = None, request: JobRequest | None = None) -> Job:
    """Returns a job that takes the place of a task of the same id which was only noted."""
    if id_task is not None:
        progress.noted.pop(id_task, None)
    return Job(name, id_task, request, user=None if request is None else request.user)


@contextmanager
def gpu_job(job: str, id_task: str | None = None) -> Iterator[None]:
    """Waits for the device and makes what stands in the `with` block a job, in the caller's thread.

    job: text shown as `state.job`. id_task: what pages and clients poll for; it counts as queued from the moment this
    is entered. Raises OutOfMemory for torch's own error, Cancelled when it is taken out of the queue.
    """
    with queue.hold(make_job(job, id_task)), working(job):
        yield


def submit(name: str, work: Callable[[], Any], id_task: str | None = None, request: JobRequest | None = None) -> Job:
    """Queues `work` as a job that the queue's thread runs, in a copy of the caller's context, and returns the job."""
    return enqueue(make_job(name, id_task, request), work)


def enqueue(job: Job, work: Callable[[], Any]) -> Job:
    """Does what `submit` does, with a job that is there already. Where there are other processes to carry out what it
    asks for, `work` runs in a thread that waits for one of them.
    """
    if elsewhere.carrier is not None and elsewhere.carrier.takes(job):
        return queue.submit(job, partial(elsewhere.carried, elsewhere.carrier, job, work), is_elsewhere=True)
    return queue.submit(job, work, in_fresh_modes(job.name))


def submit_call(name: str, call: Callable[[], Any]) -> Job:
    """Queues a call that needs the device but is no job to `shared.state`, such as a rescan of the model folder."""
    return queue.submit(make_job(name), call)


_coroutines: WeakKeyDictionary[Callable, Callable[..., Awaitable]] = WeakKeyDictionary()
"""Handler > the same as a coroutine. An attribute would not do: functools.wraps copies it to whatever is put around."""


def coroutine_of(handler: Any) -> Any:
    """Returns the form of a wrapped handler that waits without holding a thread; everything else as it is."""
    return _coroutines.get(handler, handler) if isinstance(handler, FunctionType) else handler


def add_coroutine(handler: Callable, coroutine: Callable[..., Awaitable]) -> None:
    """Registers the form of a handler that waits without holding a thread."""
    _coroutines[handler] = coroutine


def wrap_queued_call(func: Callable) -> Callable:
    """Returns `func` waiting until no job runs, without being a job itself (for example a rescan of the model folder).

    A job has the device: its calls are made at once.
    """

    @wraps(func)
    def queued(*args: Any, **kwargs: Any) -> Any:
        """Makes the call in the caller's thread."""
        with queue_lock:
            return func(*args, **kwargs)

    @wraps(func)
    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        """Makes the call in the queue's thread."""
        return await submit_call(func.__name__, partial(func, *args, **kwargs)).outcome()

    add_coroutine(queued, awaiting)
    return queued


def task_id_of(args: tuple) -> str | None:
    """Returns the id of the page's task, which it sends as the first argument: "task(...)"."""
    first = args[0] if args else None
    return first if isinstance(first, str) and first.startswith("task(") and first.endswith(")") else None


def wrap_gradio_gpu_call(
    func: Callable, extra_outputs: list | None = None, submit: Callable[..., Job] | None = None
) -> Callable:
    """Returns a Gradio handler that runs as a job: queued, with progress, and with its result kept for a page that is
    reloaded meanwhile.

    Called, it runs the job in the caller's thread; as a coroutine, it has the queue's thread run it. submit: queues a
    call, given its name, its work, its id and its arguments, in a thread of its own.
    """

    def named(args: tuple) -> tuple[str, str | None]:
        id_task = task_id_of(args)
        return id_task or func.__name__, id_task

    def recorded(*args: Any, **kwargs: Any) -> Any:
        result = func(*args, **kwargs)
        if (id_task := task_id_of(args)) is not None:
            progress.record_results(id_task, result)
        return result

    @wraps(func)
    def job(*args: Any, **kwargs: Any) -> Any:
        """Runs the job in the caller's thread."""
        with gpu_job(*named(args)):
            return recorded(*args, **kwargs)

    @wraps(func)
    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        """Has the queue's thread run the job, which goes on when the page is closed."""
        name, id_task = named(args)
        work = partial(recorded, *args, **kwargs)
        if submit is None:
            return await enqueue(make_job(name, id_task), work).outcome()
        try:
            queued = await asyncio.to_thread(submit, name, work, id_task, args)
        except Exception:
            progress.finish_task(id_task)  # the page asks for a task that the queue has never heard of
            raise
        return await queued.outcome()

    add_coroutine(job, awaiting)
    return wrap_gradio_call(job, extra_outputs=extra_outputs, add_stats=True)


@dataclass
class Dress:
    """How a handler's error and the time and memory it took look in its last output; the page puts its own here."""

    error: Callable[[Exception], str] = str
    stats: Callable[[float, dict[str, int]], str] = lambda seconds, memory: f"{seconds:.1f} sec."


dress = Dress()


class Outputs:
    """What a handler shows: `result`, or after an error `extra_outputs` and the error in the last output.

    Entered before the handler runs, it swallows the handler's error.
    """

    def __init__(self, function: Callable, extra_outputs: list | None, add_stats: bool):
        self.function = function
        self.extra_outputs = [None, ""] if extra_outputs is None else extra_outputs
        self.add_stats = add_stats
        self.result: list = []

    def __enter__(self) -> Outputs:
        self.started = time.perf_counter()
        if self.add_stats:
            shared.mem_mon.monitor()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> bool:
        # the page has to show every error, whatever its kind
        is_shown = isinstance(e, Exception)
        if is_shown:
            failure = records.fail_in_extension("event", e, self.function)
            message = str(failure or f"{self.function.__name__} failed")
            errors.report(message, exc_info=not isinstance(e, errors.InvalidInput))
            self.result = [*self.extra_outputs, dress.error(e)]
        if self.add_stats and (e is None or is_shown):
            stats = dress.stats(time.perf_counter() - self.started, shared.mem_mon.stop())
            self.result[-1] = (self.result[-1] or "") + stats
        return is_shown


def wrap_gradio_call(func: Callable, extra_outputs: list | None = None, add_stats: bool = False) -> Callable:
    """Returns a Gradio handler whose error is shown in its last output instead of ending it, with the time and memory
    it took if `add_stats`.

    extra_outputs: what the other outputs become after an error; [None, ""] when not given.
    """

    @wraps(func)
    def call(*args: Any, **kwargs: Any) -> tuple:
        """Calls the handler."""
        with Outputs(func, extra_outputs, add_stats) as outputs:
            outputs.result = list(func(*args, **kwargs))
        return tuple(outputs.result)

    waits = coroutine_of(func)
    if waits is not func:

        @wraps(func)
        async def awaiting(*args: Any, **kwargs: Any) -> tuple:
            """Awaits the handler."""
            with Outputs(func, extra_outputs, add_stats) as outputs:
                outputs.result = list(await waits(*args, **kwargs))
            return tuple(outputs.result)

        add_coroutine(call, awaiting)
    return call


# A1111 names: a handler that is no job never touches the state of the job that may be running.
wrap_gradio_call_no_job = wrap_gradio_call
