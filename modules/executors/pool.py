"""job: the workers of this program: which of them carries out a request, who helps, and what if one is lost."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from modules import call_queue, checkpoints, errors, script_base, scripts, sd_models, shared, shared_items, version
from modules.executors import wire
from modules.executors.remote_state import RemoteState
from modules.job import elsewhere
from modules.job.queue import Job
from modules.job.request import FIELDS, JobRequest
from modules.options import Options
from modules.paths_internal import extensions_builtin_dir, modules_path, script_path

logger = logging.getLogger(__name__)

LISTS = ("checkpoints", "sd_vae", "sd_modules")
"""Lists of files that both server and workers have to know."""

ATTEMPTS = 3
"""How often a request is begun, and a worker started, that gets lost."""

BETWEEN_LOOKS = 0.2
"""Seconds between two looks of a job that waits for a worker at whether it is to end."""

OWN_FOLDERS = (os.path.join(script_path, "scripts"), modules_path, extensions_builtin_dir)
HOOKS = (
    "before_process",
    "process",
    "before_process_batch",
    "after_extra_networks_activate",
    "process_before_every_sampling",
    "process_batch",
    "postprocess_batch",
    "postprocess_batch_list",
    "on_mask_blend",
    "post_sample",
    "postprocess_image",
    "postprocess_maskoverlay",
    "postprocess_image_after_composite",
    "before_hr",
)
"""What a script may do in a run. One that does any of it may count on seeing all batches in one process."""


def files_found() -> dict[str, list[str]]:
    """Returns the names of the files that this process has found, by the list that settings choose them from."""
    found = {name: [str(item) for item in shared_items.items(name)] for name in LISTS}
    return found | {"checkpoints": [info.name for info in checkpoints.checkpoints_list.values()]}


@dataclass(frozen=True)
class TaskSettings:
    """The settings that a job runs with. values: all of them. own: names of those that are laid over the user's."""

    values: dict[str, Any]
    own: frozenset[str]

    @classmethod
    def from_opts(cls, opts: Options) -> TaskSettings:
        """Returns the settings as the calling context sees them."""
        own = dict(opts.job_overlay.get())
        return cls({**opts.data, **own}, frozenset(own))

    def give_back(self, changed: Mapping[str, Any], user: Options) -> None:
        """Changes those of the user's that the job has changed, unless the user has changed them meanwhile."""
        for key, value in changed.items():
            if key not in self.own and user.data.get(key) == self.values.get(key):
                user.data[key] = value


class Worker:
    """A worker as the server knows it. link: None before it is started. checkpoint: what its last task ran on.
    task: what it is doing. is_outdated: whether it is to be started anew.
    """

    def __init__(self, name: str, connect: Callable[[], wire.Link]):
        self.name = name
        self.link: wire.Link | None = None
        self.checkpoint: Any = None
        self.error: str | None = None
        self.task: wire.Task | None = None
        self.is_outdated = False
        self._connect = connect

    def start(self) -> None:
        """Starts the process and waits until it is ready. Raises WorkerLost for one that ends, or does not fit."""
        self.link = link = self._connect()
        self.checkpoint = None
        _, facts = link.receive()
        problem = misfit(self.name, facts)
        if problem is not None:
            link.close()
            raise wire.WorkerLost(problem)

    def close(self) -> None:
        """Ends the process."""
        if self.link is not None:
            self.link.close()

    def carry_out(self, task: wire.Task, handlers: dict[str, Callable[..., object]]) -> tuple[Any, ...]:
        """Has a task carried out; returns what `done` says, raises what it has raised. handlers: by kind of message."""
        assert self.link is not None
        self.task = task
        try:
            self.link.send(("run", task))
            while True:
                name, *values = self.link.receive()
                if name == "done":
                    return tuple(values)
                if name == "failed":
                    raise values[0]
                handlers.get(name, lambda *_: None)(*values)
        finally:
            self.task = None


def misfit(name: str, facts: dict[str, Any]) -> str | None:
    """Returns why a worker cannot work for this server, None if it can."""
    if facts["version"] != version.PROGRAM_VERSION:
        return f"Worker {name} has version {facts['version']}, this server {version.PROGRAM_VERSION}: install the same"
    missing = sorted({file for files in files_found().values() for file in files} - set(facts["files"]))
    if missing:
        return f"Worker {name} does not find {', '.join(missing[:5])}: give it the same models folder"
    return None


class Run:
    """The batches of a run that is shared: who makes which. All methods may be called in any thread."""

    def __init__(self, count: int, finished: Iterable[int]):
        self._changed = threading.Condition()
        self._left = [n for n in range(count) if n not in set(finished)]
        self._taken: set[int] = set()
        self._made: dict[int, tuple[torch.Tensor, bool]] = {}

    def take(self) -> int | None:
        """Gives a batch to a helper: the second that is left, as the first is next for the one who leads."""
        with self._changed:
            if not self._left:
                return None
            n = self._left.pop(1 if len(self._left) > 1 else 0)
            self._taken.add(n)
            return n

    def put(self, n: int, pixels: torch.Tensor, is_skipped: bool) -> None:
        """Takes in what a helper has made."""
        with self._changed:
            self._taken.discard(n)
            self._made[n] = pixels, is_skipped
            self._changed.notify_all()

    def give_up(self, n: int) -> None:
        """Notes that a helper will not make its batch."""
        with self._changed:
            self._taken.discard(n)
            self._changed.notify_all()

    def get(self, n: int) -> tuple[torch.Tensor, bool] | None:
        """Returns what a helper has made of a batch, waiting for it; None if whoever leads has to make it."""
        with self._changed:
            if n in self._left:
                self._left.remove(n)
            self._changed.wait_for(lambda: n not in self._taken)
            return self._made.pop(n, None)

    def end(self) -> None:
        """Leaves nothing for helpers."""
        with self._changed:
            self._left.clear()


class Pool:
    """All workers. `takes`, `carry_out` and `tell` are what `job.elsewhere.Carrier` asks for."""

    def __init__(self, workers: Sequence[Worker]):
        self.workers = list(workers)
        self._changed = threading.Condition()
        self._idle: list[Worker] = []
        self._waiting = 0
        self._numbers = itertools.count(1)
        self._is_closed = False
        shared.state.followers.append(self._pass_on)

    def start(self) -> None:
        """Starts all workers, without waiting for them, and has jobs carried out by them from now on, on the checkpoint
        that the settings name, or the first.
        """
        sd_models.write_selection(sd_models.select_checkpoint())
        for worker in self.workers:
            self._start(worker)
        call_queue.queue.open_lanes(len(self.workers))
        elsewhere.carrier = self

    def close(self) -> None:
        """Ends all workers; what they were doing is lost."""
        elsewhere.carrier = None
        shared.state.followers.remove(self._pass_on)
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for worker in self.workers:
            worker.close()
        call_queue.queue.close_lanes()

    def restart(self) -> None:
        """Starts each worker anew, as soon as it has nothing to do."""
        for worker in self.workers:
            worker.is_outdated = True
        for worker in self.helpers(None):
            self._start_anew(worker)

    def takes(self, job: Job) -> bool:
        """Says whether workers can carry out what a job asks for: a request that can be sent."""
        return job.request is not None and not self._is_closed and wire.is_packable(job.request)

    def tell(self, wish: str) -> None:
        """Has each worker "unload" or "reload" its model after what it is doing. Does not wait for it."""
        for worker in self.workers:
            if worker.link is not None:
                with suppress(wire.WorkerLost):  # one that is started anew has nothing on its device
                    worker.link.send((wish,))

    # workers

    def _start_anew(self, worker: Worker) -> None:
        worker.close()
        self._start(worker)

    def _start(self, worker: Worker) -> None:
        worker.link = worker.error = None
        worker.is_outdated = False
        threading.Thread(target=self._bring_up, args=[worker], name=f"start {worker.name}", daemon=True).start()

    def _bring_up(self, worker: Worker) -> None:
        """Starts a worker, several times if need be, and makes it available."""
        error = ""
        for _ in range(ATTEMPTS):
            if self._is_closed:
                return
            try:
                worker.start()
            except Exception as e:  # of a library between machines, too
                error = str(e) or type(e).__name__
                if not self._is_closed:
                    logger.error("Worker %s did not start: %s", worker.name, error)
                continue
            logger.info("Worker %s is ready", worker.name)
            self._release(worker)
            if self._is_closed:
                worker.close()
            return
        with self._changed:
            worker.error = error
            self._changed.notify_all()

    def _acquire(self, checkpoint: Any, state: RemoteState) -> Worker:
        """Waits for a worker, preferably one that has the checkpoint. Raises Cancelled when the job is told to end
        before, WorkerLost when no worker can be started.
        """
        with self._changed:
            self._waiting += 1
            try:
                while not self._idle:
                    if state.interrupted or self._is_closed:
                        raise errors.Cancelled("The job was interrupted before a worker was free.")
                    if all(worker.error is not None for worker in self.workers):
                        raise wire.WorkerLost(f"No worker could be started: {self.workers[0].error}")
                    self._changed.wait(BETWEEN_LOOKS)
                return self._take(checkpoint)
            finally:
                self._waiting -= 1

    def _take(self, checkpoint: Any) -> Worker:
        """Takes an idle worker; the caller holds the guard."""
        chosen = next((worker for worker in self._idle if worker.checkpoint == checkpoint), self._idle[0])
        self._idle.remove(chosen)
        chosen.checkpoint = checkpoint
        return chosen

    def _release(self, worker: Worker) -> None:
        if worker.is_outdated:
            self._start_anew(worker)
            return
        with self._changed:
            self._idle.append(worker)
            self._changed.notify_all()

    def _replace(self, worker: Worker, state: RemoteState, error: wire.WorkerLost) -> None:
        """Starts a lost worker anew."""
        state.forget(worker)
        if self._is_closed:
            return
        logger.error("%s. What it was doing is done again.", error)
        self._start_anew(worker)

    def _pass_on(self, wish: str) -> None:
        """Passes on to all running jobs what the user asks for without naming one."""
        for job in call_queue.queue.running_jobs():
            if isinstance(job.watched, RemoteState):
                getattr(job.watched, wish)()

    # jobs

    def carry_out(self, job: Job, request: JobRequest) -> Any:
        """Returns the result of a request; what a lost worker has not finished is made elsewhere with its seeds."""
        state = RemoteState(shared.opts)
        state.begin(job.name)
        job.watched = state
        finished: dict[int, tuple[list[Any], list[str]]] = {}
        settings = TaskSettings.from_opts(shared.opts)
        styles = dict(shared.prompt_styles.styles) if request.fields.get("styles") else {}
        checkpoint = request.overrides.get("sd_model_checkpoint") or settings.values.get("sd_model_checkpoint")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                worker = self._acquire(checkpoint, state)
            except errors.Cancelled:
                job.is_interrupted = True
                raise
            task = wire.Task(
                self.next_number(), job.name, request, settings.values, styles, files_found(), "all", finished
            )
            shared_run = SharedRun(self, job, state, worker, task)
            try:
                result, changed, was_interrupted, hashes = shared_run.carry_out()
            except wire.WorkerLost as e:
                self._replace(worker, state, e)
                job.note = str(e)
                if attempt == ATTEMPTS or self._is_closed:
                    raise
                for path in shared_run.unfinished_files:  # is made again, perhaps under the same name
                    with suppress(OSError):
                        os.unlink(path)
                request = with_seeds(request, job.seeds)
                continue
            except BaseException:
                self._release(worker)
                raise
            self._release(worker)
            settings.give_back(changed, shared.opts)
            note_hashes(hashes)
            job.is_interrupted |= was_interrupted or state.interrupted or state.stopping_generation
            state.end()
            return result

    def next_number(self) -> int:
        """Returns the number of a new task."""
        return next(self._numbers)

    def helpers(self, checkpoint: Any) -> Iterable[Worker]:
        """Takes idle workers as long as no job waits for one."""
        while True:
            with self._changed:
                if not self._idle or self.is_wanted():
                    return
                worker = self._take(checkpoint)
            yield worker

    def is_wanted(self) -> bool:
        """Says whether a job waits for a worker, so that those who help shall come back."""
        return self._waiting > 0 or any(job.is_elsewhere for job in call_queue.queue.waiting())

    def help(self, worker: Worker, job: Job, state: RemoteState, task: wire.Task, run: Run) -> None:
        """Has a worker make batches of a job's run until none is left, or it is needed elsewhere."""
        mine: list[int] = []

        def claim() -> None:
            """Answers which batch to make."""
            n = None if self.is_wanted() or state.interrupted or state.stopping_generation else run.take()
            mine.extend([] if n is None else [n])
            assert worker.link is not None
            worker.link.send(("answer", n))

        def pixels(n: int, made: torch.Tensor, is_skipped: bool) -> None:
            """Takes in a batch."""
            mine.remove(n)
            run.put(n, made, is_skipped)

        unfollow = follow(worker, state, task)
        handlers = {
            "claim": claim,
            "pixels": pixels,
            "state": lambda values: state.report(worker, values, is_leading=False),
        }
        try:
            worker.carry_out(task, handlers)
        except wire.WorkerLost as e:
            job.note = str(e)
            self._replace(worker, state, e)
        except BaseException as e:
            logger.warning("Worker %s could not help: %s", worker.name, e)
            self._release(worker)
        else:
            self._release(worker)
        finally:
            unfollow()
            for n in mine:
                run.give_up(n)


class SharedRun:
    """One task, carried out by a worker that leads and others that help.

    unfinished_files: those of a batch, or of a run that is not shared, that would be written again.
    """

    def __init__(self, pool: Pool, job: Job, state: RemoteState, worker: Worker, task: wire.Task):
        self._pool, self._job, self._state, self._worker = pool, job, state, worker
        count = batches_of(task.request)
        is_shared = count > 1 and can_be_shared(task)
        self._task = replace(task, share="lead") if is_shared else task
        self._run = Run(count if is_shared else 0, task.finished)
        self.unfinished_files: list[str] = []

    def carry_out(self) -> tuple[Any, ...]:
        """Returns what `done` says: the result, changed settings, whether it was interrupted, hashes of checkpoints.

        Raises WorkerLost and what the job raises.
        """
        worker, state = self._worker, self._state
        unfollow = follow(worker, state, self._task)
        handlers: dict[str, Callable[..., object]] = {
            "state": lambda values: state.report(worker, values, is_leading=True),
            "preview": state.show,
            "seeds": self._note_seeds,
            "batch": self._answer,
            "file": self.unfinished_files.append,
            "finished": self._note_finished,
        }
        try:
            return worker.carry_out(self._task, handlers)
        finally:
            unfollow()
            self._run.end()

    def _note_finished(self, n: int, images: list[Any], texts: list[str]) -> None:
        self._task.finished[n] = images, texts
        self.unfinished_files.clear()

    def _note_seeds(self, seeds: list[Any]) -> None:
        call_queue.queue.note_seeds(seeds, self._job)
        self._call_helpers()

    def _answer(self, n: int) -> None:
        self._call_helpers()
        made = self._run.get(n)
        assert self._worker.link is not None
        self._worker.link.send(("answer", made))

    def _call_helpers(self) -> None:
        """Has workers that have nothing to do help, once it is known with which seeds."""
        if self._task.share != "lead" or self._job.seeds is None:
            return
        request = with_seeds(self._task.request, self._job.seeds)
        for worker in self._pool.helpers(self._worker.checkpoint):
            task = replace(self._task, number=self._pool.next_number(), request=request, share="help", finished={})
            arguments = [worker, self._job, self._state, task, self._run]
            threading.Thread(target=self._pool.help, args=arguments, name=f"{worker.name} helps", daemon=True).start()


def note_hashes(hashes: Mapping[str, str | None]) -> None:
    """Takes over the sha256 of checkpoints, by name, which whoever has read the files knows."""
    for name, sha256 in hashes.items():
        info = checkpoints.named(name)
        if info is None or info.sha256 == sha256:
            continue
        info.note_sha256(sha256)
        if checkpoints.named(shared.opts.data.get("sd_model_checkpoint") or "") is info:
            sd_models.write_selection(info)


def follow(worker: Worker, state: RemoteState, task: wire.Task) -> Callable[[], None]:
    """Has a worker told what the user asks of a task; returns what ends that."""

    def tell(wish: str) -> None:
        """Tells the worker; one that is lost need not know, and the preview is that of the one that leads."""
        if wish == "preview" and task.share == "help":
            return
        try:
            assert worker.link is not None
            worker.link.send(("tell", task.number, wish))
        except wire.WorkerLost as e:
            logger.debug("%s", e)

    return state.follow(tell)


def with_seeds(request: JobRequest, seeds: Sequence[Any] | None) -> JobRequest:
    """Returns a request that is made with the seeds that were drawn."""
    if seeds is None:
        return request
    return replace(request, attributes=request.attributes | dict(zip(("seed", "subseed"), seeds, strict=True)))


def batches_of(request: JobRequest) -> int:
    """Returns how many batches a request asks for."""
    return request.attributes.get("n_iter", request.fields.get("n_iter", FIELDS[request.kind].n_iter))


def can_be_shared(task: wire.Task) -> bool:
    """Says whether several processes can make the batches of a run: no script needs to see all of them, and sampling
    writes no files.
    """
    request = task.request
    if request.script is not None or request.batch is not None:
        return False
    settings = task.settings | request.overrides
    if request.fields.get("enable_hr") and settings.get("save_images_before_highres_fix"):
        return False
    runner = scripts.scripts_txt2img if request.kind == "txt2img" else scripts.scripts_img2img
    return not any(needs_all(script) for script in runner.alwayson_scripts)


def needs_all(script: script_base.Script) -> bool:
    """Says whether a script may need to see all batches in one process, as those of extensions may. One whose class
    says `shares_batches = True` does not.
    """
    kind = type(script)
    if getattr(kind, "shares_batches", False) or str(script.filename).startswith(OWN_FOLDERS):
        return False
    return any(getattr(kind, hook) is not getattr(script_base.Script, hook) for hook in HOOKS)
