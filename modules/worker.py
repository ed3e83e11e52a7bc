"""root: a process that carries out requests for a server, on a device of its own: what --devices starts.

It is the whole program with its extensions, but for the port: so what they keep for themselves is right in it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Client
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from modules import errors, launch_process, launch_utils, logging_config, run_files
from modules.executors import wire
from modules.executors.local import ADDRESS, KEY, ConnectionLink
from modules.executors.remote_state import REPORTED
from modules.job import shares

if TYPE_CHECKING:
    import torch

    from modules.executors.wire import Link, Task
    from modules.processing_runner import JobResult

logger = logging.getLogger(__name__)

BETWEEN_REPORTS = 0.1
"""Seconds."""

PREVIEW_SECONDS = 3.0
"""How long a wish for a preview lasts."""


def main() -> None:
    """Serves the program that has started this process, and ends with it."""
    logging_config.setup_logging(launch_utils.args.loglevel)
    launch_process.set_up()
    connection = Client(os.environ.pop(ADDRESS), authkey=bytes.fromhex(os.environ.pop(KEY)))
    serve(ConnectionLink(connection))


def serve(link: Link) -> None:
    """Brings the program to where it can work, and does what it is asked until it is told to end."""
    inbox: SimpleQueue[wire.Message] = SimpleQueue()
    threading.Thread(target=take_in, args=[link, inbox], name="inbox", daemon=True).start()
    start()
    link.send(("ready", facts()))
    worker = Worker(link)
    with ThreadPoolExecutor(1, thread_name_prefix="task") as tasks:
        while True:
            name, *values = inbox.get()
            if name == "end":
                os._exit(0)
            elif name == "run":
                tasks.submit(worker.run, *values)
            elif name in MOVES:
                tasks.submit(errors.run, MOVES[name], f"{name} the model")
            elif name == "tell":
                worker.tell(*values)
            elif name == "answer":
                worker.answers.put(values[0])


def take_in(link: Link, inbox: SimpleQueue[wire.Message]) -> None:
    """Takes in what the server says, from the start on, so that its end is noticed whatever is being done."""
    while True:
        try:
            inbox.put(link.receive())
        except wire.WorkerLost:  # nobody waits for what is being made
            os._exit(0)


def start() -> None:
    """Does what the start of the program does, without a server."""
    import webui
    from modules import initialize, shared, start_imports

    with start_imports.collections.paused():
        initialize.imports()
        shared.opts.save = lambda filename: None  # the settings belong to the server
        initialize.initialize()
        webui.create_unserved_page()
    initialize.load_model()


def facts() -> dict[str, Any]:
    """Returns what the server compares with itself."""
    from modules import version
    from modules.executors import pool

    files = [file for found in pool.files_found().values() for file in found]
    return {"version": version.PROGRAM_VERSION, "files": files}


def unload() -> None:
    """Moves the model from the device."""
    from modules import sd_models

    sd_models.unload_model_weights()


def reload() -> None:
    """Moves the model to the device."""
    from modules import sd_models, shared

    sd_models.send_model_to_device(shared.sd_model)


MOVES = {"unload": unload, "reload": reload}
"""What the server may ask between two tasks."""


class Worker:
    """Carries out one task after the other. answers: what the server says to what a share asks it."""

    def __init__(self, link: Link):
        self.link = link
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self._task: Task | None = None
        self._wishes: defaultdict[int, list[str]] = defaultdict(list)
        self._preview_until = 0.0
        self._guard = threading.Lock()

    def tell(self, number: int, wish: str) -> None:
        """Does what the user asks for, if it is meant for the running task, or keeps it for a task that comes."""
        from modules import shared

        if wish == "preview":
            self._preview_until = time.monotonic() + PREVIEW_SECONDS
            return
        with self._guard:
            if self._task is not None and self._task.number == number:
                getattr(shared.state, wish)()
            else:
                self._wishes[number].append(wish)

    def run(self, task: Task) -> None:
        """Carries out a task, and sends what came of it."""
        try:
            self.link.send(("done", *self._carry_out(task)))
        except wire.WorkerLost:
            os._exit(0)
        except BaseException as e:  # belongs to whoever waits for the task
            self.link.send(("failed", wire.portable_error(e)))

    def _carry_out(self, task: Task) -> tuple[JobResult, dict[str, Any], bool, dict[str, str | None]]:
        """Returns (result, settings that the task has changed, whether it was interrupted, the sha256 of its checkpoint
        by name).
        """
        from modules import call_queue, shared
        from modules.executors import results
        from modules.job.queue import Job
        from modules.processing_runner import ProcessingRunner

        adapt(task)
        over = threading.Event()

        def work() -> JobResult:
            """Runs the request, once what was asked for before has been done."""
            with self._guard:
                self._task = task
                for wish in self._wishes[task.number]:
                    getattr(shared.state, wish)()
                self._wishes.clear()
            threading.Thread(target=self._report, args=[over], daemon=True).start()
            return ProcessingRunner(task.request).run()

        def heard(job: Job) -> None:
            """Tells the seeds that were drawn."""
            if job.seeds is not None:
                self.link.send(("seeds", job.seeds))

        shares.current.set(self._share_of(task))
        run_files.told.set(lambda path: self.link.send(("file", path)))
        call_queue.queue.listeners.append(heard)
        try:
            job = call_queue.submit(task.name, work, request=task.request)
            result = job.future.result()
        finally:
            over.set()
            call_queue.queue.listeners.remove(heard)
            with self._guard:
                self._task = None
        changed = {key: value for key, value in shared.opts.data.items() if task.settings.get(key) != value}
        info = shared.sd_model.sd_checkpoint_info
        return results.portable(result), changed, job.is_interrupted, {info.name: info.sha256}

    def _share_of(self, task: Task) -> shares.Share:
        if task.share == "lead":
            return Lead(self, task)
        return Help(self) if task.share == "help" else shares.ALL

    def _report(self, over: threading.Event) -> None:
        """Tells how far the task is while it runs, with previews as long as somebody wants to see some."""
        from modules import shared

        last, shown = {}, 0
        while not over.wait(BETWEEN_REPORTS):
            state = shared.state
            if time.monotonic() < self._preview_until:
                state.set_current_image()
            values = {name: getattr(state, name) for name in REPORTED}
            if values != last:
                last = values
                self.link.send(("state", values))
            if state.id_live_preview != shown and state.current_image is not None:
                shown = state.id_live_preview
                self.link.send(("preview", state.current_image))


def adapt(task: Task) -> None:
    """Takes over the server's settings, styles and lists of files, as far as they differ."""
    from modules import shared, shared_items
    from modules.executors import pool

    own = pool.files_found()
    for name, files in task.files.items():
        if not set(files) <= set(own[name]):
            shared_items.refresh(name)
    shared.prompt_styles.styles.update(task.styles)
    changed = [key for key, value in task.settings.items() if shared.opts.data.get(key) != value]
    shared.opts.data.update(task.settings)
    for key in changed:
        info = shared.opts.data_labels.get(key)
        if info is not None and info.onchange is not None:
            errors.run(info.onchange, f"the change of the setting {key}")


class Lead(shares.Share):
    """Goes through a whole run, and takes from the server what others have made of it."""

    def __init__(self, worker: Worker, task: Task):
        self._worker = worker
        self._finished = task.finished

    def finished(self, n: int) -> tuple[Sequence[Any], Sequence[str]] | None:
        """Returns what a lost worker has finished."""
        return self._finished.get(n)

    def pixels_of(self, n: int) -> torch.Tensor | None:
        """Asks the server whether somebody else has taken batch n, and waits for it then."""
        from modules import shared

        self._worker.link.send(("batch", n))
        answer = self._worker.answers.get()
        if answer is None:
            return None
        pixels, shared.state.skipped = answer
        return pixels

    def note_finished(self, n: int, images: Sequence[Any], infotexts: Sequence[str]) -> None:
        """Sends what came of a batch, so that it need not be made again if this worker is lost."""
        self._worker.link.send(("finished", n, list(images), list(infotexts)))


class Help(shares.Share):
    """Samples the batches that the server gives out, for the worker that leads the run."""

    def __init__(self, worker: Worker):
        self._worker = worker

    def numbers(self, n_iter: int) -> Iterator[int]:
        """Asks for one batch after the other until there is none left."""
        while True:
            self._worker.link.send(("claim",))
            n = self._worker.answers.get()
            if n is None:
                return
            yield n

    def hand_over(self, n: int, pixels: torch.Tensor) -> bool:
        """Sends a batch to the server."""
        from modules import shared

        self._worker.link.send(("pixels", n, pixels.cpu(), shared.state.skipped))
        return True


if __name__ == "__main__":
    main()
