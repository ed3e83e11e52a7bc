"""job: what is written down of each job: when it was asked for, how far it came, and what it has made.

The queue knows jobs that live, the store all of them. A job is entered before it waits; its images are in files before
its row says that it is done; so the end of the program, at any moment, costs at most what was being made.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from modules import call_queue, errors, progress, shared
from modules.job import request_json
from modules.job.plan import Plan, ResultImage
from modules.job.queue import Job, JobQueue, JobState, create_task_id
from modules.job.row import OVER, Row, State, model_of
from modules.job.spool import Spool
from modules.options import OptionValues

if TYPE_CHECKING:
    from modules.job.store import JobStore

logger = logging.getLogger(__name__)

LARGE = 65_536
"""Requests of more bytes are files in the spool: they hold images, and go when images go."""

REQUEST_FILE = "request.json"

UPLOADS = "uploads"
"""Folder of the files that were uploaded for a job, each in a folder of its own, so that it keeps its name."""

BETWEEN_CLEARINGS = 20
"""Jobs that end between two looks at how much is kept."""

LOST = "The program ended while this job ran."
NO_REQUEST = "What this job was asked for is not kept any more."
NOT_WRITTEN = "The job cannot be written down: is the disk of the data directory full?"
NO_UPLOAD = "A file that was uploaded for this job is not kept any more."

AFTER_RESTART = ("run", "hold", "drop")
"""What can become of a job that still waited when the program ended."""


@dataclass(frozen=True)
class JournalSettings(OptionValues):
    """jobs_limit, jobs_user_limit: how many jobs may wait, in all and of a user; 0: any number. jobs_history: how many
    that are over are remembered.
    """

    jobs_after_restart: str
    jobs_history: int
    jobs_limit: int
    jobs_user_limit: int


@dataclass
class Record:
    """What connects a job that lives with what is written down of it. kept: gets the images of the job when they are
    safe, an empty list if there are none. context: of whoever asked for it, whose settings its images are kept with.
    note: what there is to say of one that is done all the same.
    """

    row: Row
    kept: Future[list[ResultImage]] = field(default_factory=Future)
    context: Context = field(default_factory=copy_context)
    is_interrupted: bool = False
    note: str | None = None


@dataclass(frozen=True)
class Asked:
    """A job that somebody asks for.

    kind, body: what it is, as JSON; a body of None cannot be made again. text: what a search looks through.
    after_restart: one of AFTER_RESTART. uploads: path of each file that was uploaded for it, by the name that stands
    for the path in its body; see `request_json.without_uploads`.
    """

    kind: str
    body: Any = None
    text: str = ""
    user: str | None = None
    priority: int = 0
    after_restart: str = "hold"
    webhook: str | None = None
    uploads: Mapping[str, str] = field(default_factory=dict)


class Journal:
    """Enters jobs into the queue and the store, and keeps what they make.

    make_plan: how a job is run, of its kind and what was written down. again: what is written down of one that is made
    again, of that and the seeds it had drawn. listeners: are told of each row that has changed, in the thread that
    changed it; they must not block.
    """

    def __init__(
        self,
        store: JobStore,
        spool: Spool,
        queue: JobQueue,
        make_plan: Callable[[str, Any], Plan],
        again: Callable[[Any, Sequence[Any] | None], Any],
    ):
        self.store = store
        self.spool = spool
        self.queue = queue
        self.listeners: list[Callable[[Row], object]] = []
        self._make_plan = make_plan
        self._again = again
        self._live: dict[int, Job] = {}
        self._last_of_before = store.last_number()
        self._keeper = ThreadPoolExecutor(2, thread_name_prefix="job keeper")
        self._ended = 0
        self._is_leaving = False
        queue.listeners.append(self._heard)

    # asking

    def submit(self, plan: Plan, asked: Asked) -> Job:
        """Writes down a job and queues it. Raises TooManyJobs where the settings allow no more."""
        row = self._write_down(asked, plan.task_id)
        self._tell(row)
        return self._enqueue(row, plan)

    def _write_down(self, asked: Asked, id: str | None = None) -> Row:
        self.check_limits(asked.user)
        text = None if asked.body is None else json.dumps(asked.body)
        is_large = text is not None and len(text) > LARGE
        row = self.store.add(
            Row(
                id=id or create_task_id(asked.kind),
                kind=asked.kind,
                user=asked.user,
                priority=asked.priority,
                after_restart=asked.after_restart,
                webhook=asked.webhook,
                text=asked.text,
                submitted=(now := time.time()),
                place=now,
            ),
            None if is_large else text,
        )
        try:
            if is_large and row.number:
                self.spool.put(row.number, REQUEST_FILE, text.encode())
            for name, file in asked.uploads.items() if row.number else ():
                self.spool.keep(row.number, f"{UPLOADS}/{name}", file)
        except OSError as e:
            logger.warning("the request of a job is not kept, it cannot be retried: %s", e)
        return row

    def check_limits(self, user: str | None) -> None:
        """Raises TooManyJobs where the settings allow no more jobs, in all or of this user."""
        settings = JournalSettings.from_opts(shared.opts)
        if not settings.jobs_limit and not settings.jobs_user_limit:
            return
        waiting = self.queue.waiting()
        if settings.jobs_limit and len(waiting) >= settings.jobs_limit:
            raise errors.TooManyJobs(f"{len(waiting)} jobs wait, and the setting jobs_limit allows no more: try later")
        own = sum(job.user == user for job in waiting)
        if settings.jobs_user_limit and own >= settings.jobs_user_limit:
            raise errors.TooManyJobs(f"{own} of your jobs wait, and the setting jobs_user_limit allows no more")

    def retry(self, row: Row) -> Job:
        """Queues a job again that is over, with the seeds it had drawn; one that is held is queued itself.

        Raises Busy for one that waits or runs, NotFound where its request is gone, NotSaved where it cannot be written
        down.
        """
        if row.state == State.HELD:
            return self.release(row)
        if row.state not in OVER:
            raise errors.Busy(f"Job {row.id} is {row.state}: it can be retried when it is over", field="id")
        body = self._again(self.body(row), row.seeds)
        uploads = {name: self._upload(row, name) for name in request_json.uploads_in(body)}
        new = self._write_down(
            Asked(row.kind, body, row.text, row.user, row.priority, row.after_restart, row.webhook, uploads)
        )
        if not new.number:
            raise errors.NotSaved(NOT_WRITTEN)
        try:
            plan = self._plan_of(new, body)
        except errors.WebuiError:
            self._forget([new.number])
            raise
        self._tell(new)
        return self._enqueue(new, plan)

    def _plan_of(self, row: Row, body: Any) -> Plan:
        """Returns how a job is run that is written down. Raises what planning it raises."""
        return self._make_plan(row.kind, request_json.with_uploads(body, partial(self._upload, row)))

    def _upload(self, row: Row, name: str) -> str:
        """Returns the path of a file that was uploaded for a job. Raises NotFound where it is gone."""
        path = self.spool.path(row.number, f"{UPLOADS}/{name}")
        if not os.path.isfile(path):
            raise errors.NotFound(NO_UPLOAD, field="id")
        return path

    def release(self, row: Row) -> Job:
        """Queues a job that was held. Raises what planning it raises, and then it has failed."""
        try:
            plan = self._plan_of(row, self.body(row))
        except errors.WebuiError as e:
            self._change(row, state=State.FAILED, error=str(e), ended=time.time())
            raise
        return self._enqueue(self._change(row, state=State.QUEUED), plan)

    def cancel(self, row: Row) -> bool:
        """Takes a job out of the queue, or has the running one end early. Returns False if it is over."""
        if row.state == State.HELD:
            self._change(row, state=State.CANCELLED, ended=time.time())
            return True
        job = self._live.get(row.number)
        if job is None:
            return False
        return self.queue.cancel(job) or self.queue.interrupt(job, progress.state_of(job).interrupt)

    def arrange(self, ids: Sequence[str], user: str | None = None) -> list[str]:
        """Puts waiting jobs before all others; returns the ids of all that wait, in order. user: whose jobs alone are
        moved and named.
        """
        by_id = {job.id: job for job in self.queue.waiting() if user is None or job.user == user}
        moved = self.queue.arrange([by_id[id] for id in ids if id in by_id])
        self.store.set_places({job.record.row.number: order for job, order in moved.items() if job.record is not None})
        return [job.id for job in self.queue.waiting() if user is None or job.user == user]

    def body(self, row: Row) -> Any:
        """Returns what a job was asked for. Raises NotFound where it is gone."""
        text: str | bytes | None = self.store.body(row.number) or self.spool.read(row.number, REQUEST_FILE)
        if text is None:
            raise errors.NotFound(NO_REQUEST, field="id")
        return json.loads(text)

    def _enqueue(self, row: Row, plan: Plan) -> Job:
        job = call_queue.make_job(plan.name, row.id, plan.request)
        job.is_task = job.is_listed = plan.task_id is not None
        job.user, job.priority, job.order = row.user, row.priority, row.place
        job.record = record = Record(row)
        self._live[row.number] = job
        job.future.add_done_callback(partial(self._over, record, plan.images))
        return call_queue.enqueue(job, plan.work)

    # what happens to it

    def _heard(self, job: Job) -> None:
        """Writes down that a job has begun, and notes what is known of it when it ends."""
        record: Record | None = job.record
        if record is None:
            return
        state = job.state
        if state is JobState.RUNNING:
            seeds = record.row.seeds if job.seeds is None else job.seeds
            record.row = self._change(record.row, state=State.RUNNING, started=job.started, seeds=seeds)
        elif state is not JobState.QUEUED:
            record.is_interrupted, record.note = job.is_interrupted, job.note
            self._live.pop(record.row.number, None)

    def _over(self, record: Record, images_of: Callable[[Any], list[ResultImage]], future: Future[Any]) -> None:
        """Has written down how a job ended, in another thread than its own: the device is for the next one."""
        ended = time.time()
        if future.cancelled() and self._is_leaving:
            record.kept.set_result([])
        elif future.cancelled():
            self._end(record, State.CANCELLED, ended)
        elif (error := future.exception()) is not None:
            message = str(error) or type(error).__name__
            was_ended = record.is_interrupted and isinstance(error, errors.Cancelled)
            error = None  # its traceback holds this frame
            state = State.INTERRUPTED if was_ended else State.FAILED
            self._keeper.submit(self._end, record, state, ended, message)
        else:
            self._keeper.submit(record.context.run, self._keep, record, images_of, future.result(), ended)

    def _end(self, record: Record, state: State, ended: float, error: str | None = None, **values: Any) -> None:
        """Writes down how a job ended, and lets those go on who wait for that."""
        images = values.pop("images", [])
        try:
            record.row = self._change(record.row, state=state, ended=ended, error=error, **values)
        finally:
            record.kept.set_result(images)
        self._clear()

    def _keep(self, record: Record, images_of: Callable[[Any], list[ResultImage]], result: Any, ended: float) -> None:
        """Puts the images of a job into files, and then writes down that it is done."""
        try:
            images = images_of(result)
            results = [self._keep_image(record.row, place, image) for place, image in enumerate(images)]
        except Exception as e:
            logger.exception("what job %s has made could not be kept", record.row.id)
            self._end(record, State.FAILED, ended, f"its images could not be kept: {e}")
            return
        state = State.INTERRUPTED if record.is_interrupted else State.DONE
        text = next((image.infotext for image in images if image.infotext), None)
        said = {} if text is None else {"text": text, "model": model_of(text)}
        self._end(record, state, ended, record.note, results=results, images=images, **said)

    def _keep_image(self, row: Row, place: int, image: ResultImage) -> dict[str, Any]:
        """Writes one image to the spool, unless it was saved; returns what the row says of it."""
        file = image.file
        if row.number and (file is None or not os.path.isfile(file)):
            try:
                file = self.spool.put(row.number, f"{place}.{image.format}", image.content)
            except OSError as e:
                logger.warning("an image of job %s is not kept: %s", row.id, e)
                file = None
        return {"file": file and os.path.abspath(file), "infotext": image.infotext}

    def _change(self, row: Row, **values: Any) -> Row:
        """Writes down what has changed, and returns the row as it is now."""
        self.store.update(row.number, **values)
        row = replace(row, **values)
        self._tell(row)
        return row

    def _tell(self, row: Row) -> None:
        for listener in list(self.listeners):
            listener(row)

    def _clear(self) -> None:
        """Forgets what the settings no longer allow."""
        self._ended += 1
        if self._ended % BETWEEN_CLEARINGS != 1:
            return
        self.spool.clear(keep=[*self._live, *(row.number for row in self.store.waiting(State.HELD))])
        limit = JournalSettings.from_opts(shared.opts).jobs_history
        if not limit:
            return
        counts = self.store.counts()
        surplus = sum(counts.get(state, 0) for state in OVER) - limit
        self._forget([row.number for row in self.store.oldest(surplus)] if surplus > 0 else [])

    def _forget(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.spool.remove(number)
        self.store.forget(numbers)

    # the beginning and the end of the program

    def restore(self) -> None:
        """Takes up what the last run of the program has left: the job that ran is lost, those that waited are queued,
        held or dropped, as each asks or as the setting says for all. The first that is queued begins at once.
        """
        wish = JournalSettings.from_opts(shared.opts).jobs_after_restart
        running = self._left_in(State.RUNNING)
        self.store.update_all([row.number for row in running], state=State.LOST, ended=time.time(), error=LOST)
        by_fate: dict[str, list[Row]] = {fate: [] for fate in AFTER_RESTART}
        waiting = self._left_in(State.QUEUED)
        for row in (*running, *waiting):
            self.spool.tidy(row.number, keep=[REQUEST_FILE, UPLOADS])
        for row in waiting:
            by_fate[wish if wish in by_fate else row.after_restart].append(row)
        self.store.update_all([row.number for row in by_fate["hold"]], state=State.HELD)
        self.store.update_all([row.number for row in by_fate["drop"]], state=State.CANCELLED, ended=time.time())
        for row in sorted(by_fate["run"], key=lambda row: -row.priority):
            try:
                self.release(row)
            except errors.WebuiError as e:
                logger.warning("job %s, which waited when the program ended, cannot be run: %s", row.id, e)
        counts = {"lost": len(running)} | {fate: len(rows) for fate, rows in by_fate.items()}
        if any(counts.values()):
            logger.info("Jobs of the last run: %s lost, %s to run, %s to hold, %s to drop", *counts.values())

    def _left_in(self, state: State) -> list[Row]:
        """Returns the jobs in a state that the last run has left; clients may have asked for others since."""
        rows = self.store.waiting(state)
        return [row for row in rows if row.number <= self._last_of_before and row.number not in self._live]

    def leave(self) -> None:
        """Has jobs that are cancelled from now on stay written down as they are: the program ends."""
        self._is_leaving = True

    def close(self) -> None:
        """Waits until what is over is written down, and closes the store."""
        self._keeper.shutdown()
        with suppress(ValueError):
            self.queue.listeners.remove(self._heard)
        self.store.close()
