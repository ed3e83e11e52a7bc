"""job: jobs as objects, and the one queue in which they wait for a device: first come first served, users in turn.

Knows neither what a job does nor who its user is. Whoever holds `JobQueue.line` in a thread of his own stands in the
same line as the jobs that the queue's thread works off. Jobs that other processes carry out wait in the same order, but
for a lane, of which there is one for each of those processes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import string
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context, copy_context
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from modules import errors
from modules.fifo_lock import FIFOLock

if TYPE_CHECKING:
    from modules.job.request import JobRequest

logger = logging.getLogger(__name__)

HISTORY = 100
"""How many jobs that are over are remembered, without their results."""

WAS_CANCELLED = "The job was cancelled before its turn came."

Work = Callable[[], Any]
Turn = Callable[[], object]
Around = AbstractContextManager
Task = tuple["Job", Context, Work, Around]


class Watched(Protocol):
    """The state of a job that another process carries out, as far as the queue asks for it."""

    def share(self) -> float:
        """Returns the share that is done, 0..1."""


system_random = random.SystemRandom()
"""Names jobs without touching the random numbers that jobs and extensions draw."""


def create_task_id(task_type: str) -> str:
    """Returns a new id of the form "task(txt2img-X7K2P9Q)"."""
    suffix = "".join(system_random.choices(string.ascii_uppercase + string.digits, k=7))
    return f"task({task_type}-{suffix})"


class JobState(StrEnum):
    """The stage of a job's life."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class JobStatus:
    """A job as plain data at one moment.

    position: 1 for the queued job whose turn is next, None for all that are not queued. progress: 0..1. Times are
    seconds since the epoch. error: the message of what ended a failed job.
    """

    id: str
    name: str
    state: JobState
    is_task: bool
    user: str | None
    submitted: float
    started: float | None
    ended: float | None
    progress: float
    error: str | None
    position: int | None = None


class Job:
    """Something that needs the device: it waits in a queue, runs, and ends with a result, an error, or cancelled.

    name: what `state.job` shows while it runs. id: what pages and clients poll for; without one the job is no task that
    anybody polls for, and gets a name of its own. is_listed: whether the list of waiting tasks shows it. request: the
    data it was made of, None for work that is a function only. future: gets the result or the error. priority: higher
    ones come first. order: among the waiting jobs of a user, lowest first. turn: what the line calls when the job may
    begin, None when it is over; is_called: whether it has. is_interrupted: whether it was told to end early. seeds: the
    seed and variation seed it has drawn, None before. record: what connects it with what is written down of it.
    is_elsewhere: whether another process carries it out; then task is what a lane is given, and watched its state while
    it runs. note: what there is to say of a job that has come to its end in spite of it. A job that is over refers to
    nothing of its work.
    """

    def __init__(
        self,
        name: str,
        id: str | None = None,
        request: JobRequest | None = None,
        user: str | None = None,
        priority: int = 0,
    ):
        self.name = name
        self.is_task = self.is_listed = id is not None
        self.id = create_task_id(name) if id is None else id
        self.request = request
        self.user = user
        self.future: Future[Any] = Future()
        self.submitted = time.time()
        self.started: float | None = None
        self.ended: float | None = None
        self.error: str | None = None
        self.priority = priority
        self.order = self.submitted
        self.turn: Turn | None = None
        self.place: Place | None = None
        self.is_called = False
        self.is_interrupted = False
        self.seeds: list[Any] | None = None
        self.record: Any = None
        self.is_elsewhere = False
        self.watched: Watched | None = None
        self.task: Task | None = None
        self.note: str | None = None

    @property
    def state(self) -> JobState:
        """The stage the job is at."""
        if self.future.cancelled():
            return JobState.CANCELLED
        if self.ended is not None:
            return JobState.DONE if self.error is None else JobState.FAILED
        return JobState.QUEUED if self.started is None else JobState.RUNNING

    def begin(self) -> bool:
        """Marks the job as running. Returns False when it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return False
        self.started = time.time()
        return True

    async def outcome(self) -> Any:
        """Waits for the end of the job without holding a thread, and returns its result or raises its error.

        Whoever stops waiting leaves the job as it is. Raises Cancelled for a job that was cancelled.
        """
        ended = asyncio.wrap_future(self.future)
        await asyncio.wait([ended])
        if ended.cancelled():
            raise errors.Cancelled(WAS_CANCELLED)
        try:
            return ended.result()
        finally:
            del ended, self  # an error's traceback holds this frame, and the futures hold the error


class Place:
    """A place in the line. job: whose it is; places are exchanged so that the right job has the one that is called."""

    def __init__(self, job: Job, call: Callable[[Place], None]):
        self.job = job
        self.is_given_up = False
        self._call = call

    def __call__(self) -> None:
        self._call(self)


def in_turn(jobs: Iterable[Job], served: Mapping[str | None, int]) -> Iterator[Job]:
    """Yields waiting jobs as they will have the device: by priority, then users in turn, then first come first served.

    served: user -> number of their last turn, the later the higher; users that had none come first.
    """
    by_priority: defaultdict[int, defaultdict[str | None, list[Job]]]
    by_priority = defaultdict(lambda: defaultdict(list))
    for job in jobs:
        by_priority[job.priority][job.user].append(job)
    last = dict(served)
    for priority in sorted(by_priority, reverse=True):
        lines = {user: deque(sorted(own, key=lambda job: job.order)) for user, own in by_priority[priority].items()}
        while lines:
            for user in sorted(lines, key=lambda user: (last.get(user, 0), lines[user][0].order)):
                yield lines[user].popleft()
                last[user] = max(last.values(), default=0) + 1
            lines = {user: line for user, line in lines.items() if line}


class Worker:
    """The threads, usually one, that work off jobs whose turn has come."""

    def __init__(
        self, begin: Callable[[Job], bool], finish: Callable[[Job, BaseException | None], None], threads: int = 1
    ):
        self._begin = begin
        self._finish = finish
        self._inbox: SimpleQueue[Task | None] = SimpleQueue()
        self.threads = [threading.Thread(target=self._work_off, name="job worker", daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def put(self, task: Task) -> None:
        """Hands over a job whose turn has come."""
        self._inbox.put(task)

    def end(self, timeout: float | None = None) -> None:
        """Ends the threads after the jobs they were given before, waited for at most `timeout` seconds."""
        for _ in self.threads:
            self._inbox.put(None)
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in self.threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def _work_off(self) -> None:
        while (task := self._inbox.get()) is not None:
            job, context, work, around = task
            result = None
            if self._begin(job):  # otherwise it was cancelled after its turn had come, and its place has been given up
                try:
                    with around:
                        result = context.run(work)
                except BaseException as e:  # belongs to whoever waits for the job, as with every executor
                    self._finish(job, e)
                    job.future.set_exception(e)
                else:
                    self._finish(job, None)
                    job.future.set_result(result)
            # What a job refers to must not live until the next one comes, nor in a circle of error, traceback, this
            # frame and the job's future.
            del task, job, context, work, around, result


class JobQueue:
    """All jobs of one device: those that wait, the one that runs, and what is remembered of those that are over.

    measure: tells how far the running job is, 0..1. users_take_turns: tells whether users do; otherwise all are one, as
    they are where nobody logs in. line: the lock that stands for the device; a thread that waits in
    it keeps its place among the jobs, which have theirs in the order of `in_turn`. listeners: are told of each job that
    was queued, has begun, or is over; they must not block.
    """

    def __init__(self, measure: Callable[[], float] = lambda: 0.0, users_take_turns: Callable[[], bool] = lambda: True):
        self.line = FIFOLock()
        self._users_take_turns = users_take_turns
        self.listeners: list[Callable[[Job], object]] = []
        self._measure = measure
        self._guard = threading.RLock()
        self._served: dict[str | None, int] = {}
        self._live: dict[Job, None] = {}
        self._over: deque[JobStatus] = deque(maxlen=HISTORY)
        self._worker: Worker | None = None
        self._lanes: Worker | None = None
        self._free_lanes = 0
        self._is_closed = False

    def open_lanes(self, count: int) -> None:
        """Takes in jobs that other processes carry out, so many at once."""
        with self._guard:
            self._lanes = Worker(self._begin_elsewhere, self._finish_elsewhere, count)
            self._free_lanes = count

    def close_lanes(self, timeout: float | None = None) -> None:
        """Takes in no more such jobs; those that run are waited for, at most `timeout` seconds."""
        with self._guard:
            lanes, self._lanes, self._free_lanes = self._lanes, None, 0
            waiting = [job for job in self._live if job.is_elsewhere]
        for job in waiting:
            self.cancel(job)
        if lanes is not None:
            lanes.end(timeout)

    def submit(self, job: Job, work: Work, around: Around | None = None, is_elsewhere: bool = False) -> Job:
        """Queues `work` for the queue's thread, inside a copy of the caller's context, and returns the job.

        around: entered in that thread before the work, and left after it; an error of the work passes through it.
        is_elsewhere: the work waits for another process, so that it needs a lane, not the device of this one. Once the
        queue is closed the job is cancelled at once.
        """
        context = copy_context()
        with self._guard:
            if self._is_closed:
                job.future.cancel()
                self._live[job] = None
                self._close_books(job)
                self._tell(job)
                return job
            if is_elsewhere:
                job.is_elsewhere = True
                job.task = (job, context, work, around or nullcontext())
                self._live[job] = None
                self._tell(job)
                self._fill_lanes()
                return job
            if self._worker is None:
                self._worker = Worker(self._begin, self._finish)
            self._line_up(job, partial(self._worker.put, (job, context, work, around or nullcontext())))
        return job

    @contextmanager
    def hold(self, job: Job) -> Iterator[Job]:
        """Waits for the job's turn; what stands in the `with` block is the job, in the caller's thread.

        Its future tells only that it is over. Raises Cancelled when the job is cancelled before its turn, RuntimeError
        in a thread that has the device, since its turn would never come.
        """
        if self.line.is_own():
            raise RuntimeError(
                "a job that has the device has asked for it as another job: call the function itself, without the"
                " wrapper that waits in the queue"
            )
        turn = threading.Event()
        with self._guard:
            self._line_up(job, turn.set)
        try:
            turn.wait()
        except BaseException:
            self.cancel(job)
            raise
        if not self._begin(job):
            raise errors.Cancelled(WAS_CANCELLED)
        try:
            yield job
        except BaseException as e:
            self._finish(job, e)
            raise
        else:
            self._finish(job, None)
        finally:
            job.future.set_result(None)

    def close(self, timeout: float | None = None) -> None:
        """Cancels what is queued, and what is submitted from now on, and ends the thread after the running job, waited
        for at most `timeout` seconds.
        """
        with self._guard:
            self._is_closed = True
            worker, self._worker = self._worker, None
        self.close_lanes(timeout)
        for job in self.live():
            self.cancel(job)
        if worker is not None:
            worker.end(timeout)

    def live(self) -> list[Job]:
        """Returns the jobs that run or wait, in the order in which they came."""
        with self._guard:
            return list(self._live)

    def over(self) -> list[JobStatus]:
        """Returns what is remembered of the jobs that are over, the first to end first."""
        with self._guard:
            return list(self._over)

    def waiting(self) -> list[Job]:
        """Returns the jobs that wait, the next one first."""
        with self._guard:
            called = [job for job in self._live if job.is_called and job.state is JobState.QUEUED]
            return called + list(self._in_turn())

    def arrange(self, first: Sequence[Job]) -> dict[Job, float]:
        """Puts waiting jobs before all others of the same priority and user; returns the new order of those it moved.

        Jobs that have begun meanwhile are passed over.
        """
        with self._guard:
            waiting = sorted((job for job in self._live if not job.is_called), key=lambda job: job.order)
            named = [job for job in dict.fromkeys(first) if job in waiting]
            orders = [job.order for job in waiting]
            moved = {}
            for job, order in zip([*named, *(job for job in waiting if job not in named)], orders, strict=True):
                if job.order != order:
                    job.order = moved[job] = order
            return moved

    def interrupt(self, job: Job, stop: Callable[[], object]) -> bool:
        """Calls `stop` if the job runs now. Returns False, calling nothing, if it does not."""
        with self._guard:
            if job not in self._live or job.state is not JobState.RUNNING:
                return False
            job.is_interrupted = True
            stop()
            return True

    def running(self) -> Job | None:
        """Returns the job that has the device of this process."""
        return next((job for job in reversed(self.running_jobs()) if not job.is_elsewhere), None)

    def running_jobs(self) -> list[Job]:
        """Returns all that run, those that other processes carry out included, in the order in which they came."""
        return [job for job in self.live() if job.state is JobState.RUNNING]

    def find(self, id: str) -> Job | None:
        """Returns the job of this id that runs or waits."""
        return next((job for job in self.live() if job.id == id), None)

    def position(self, job: Job) -> int | None:
        """Returns 1 for the job whose turn is next; None for one that does not wait."""
        waiting = self.waiting()
        return waiting.index(job) + 1 if job in waiting else None

    def cancel(self, job: Job) -> bool:
        """Takes a job out of the queue. Returns False when it has begun or is over, which changes nothing."""
        if not job.future.cancel():
            return False
        if job.is_elsewhere:
            if is_first := self._close_books(job):
                self._tell(job)
            return is_first
        with self._guard:
            turn, place, was_called = job.turn, job.place, job.is_called
            if turn is None or place is None or not self._close_books(job):
                return False  # somebody else has cancelled it
            if not self.line.leave(place):
                place.is_given_up = True  # it may be about to be called, and the next has been called for it
        if not was_called:
            turn()  # whoever waits for the turn sees that the job is cancelled
        self._tell(job)
        return True

    def statuses(self) -> list[JobStatus]:
        """Returns the jobs that are over, then the running one and those that wait, in order."""
        with self._guard:
            over, waiting = list(self._over), self.waiting()
            begun = [job for job in self._live if job.started is not None]
        queued = [self._status(job, place) for place, job in enumerate(waiting, 1)]
        return [*over, *map(self._status, begun), *queued]

    def _line_up(self, job: Job, turn: Turn) -> None:
        """Enters a job into the books and into the line; the caller holds the guard."""
        job.turn, job.place = turn, Place(job, self._call)
        self._live[job] = None
        self._tell(job)
        self.line.line_up(job.place)

    def _call(self, place: Place) -> None:
        """Gives the device, which a place in the line has got, to the job whose turn it is."""
        with self._guard:
            if place.is_given_up:
                return
            job = next(job for job in self._in_turn() if not job.is_elsewhere)
            place.job.place, job.place.job = job.place, place.job
            place.job, job.place = job, place
            self._serve(job)
        job.turn()

    def _serve(self, job: Job) -> None:
        """Notes that a job's turn has come; the caller holds the guard."""
        job.is_called = True
        self._served[job.user] = max(self._served.values(), default=0) + 1

    def _fill_lanes(self) -> None:
        """Gives free lanes to the jobs whose turn it is; the caller holds the guard."""
        while self._lanes is not None and self._free_lanes:
            job = next((job for job in self._in_turn() if job.task is not None), None)
            if job is None or job.task is None:
                return
            self._free_lanes -= 1
            self._serve(job)
            self._lanes.put(job.task)

    def _begin_elsewhere(self, job: Job) -> bool:
        """Marks a job that has got a lane as running; False when it was cancelled, and then the lane is free."""
        if job.begin():
            self._tell(job)
            return True
        self._free_lane()
        return False

    def _finish_elsewhere(self, job: Job, error: BaseException | None) -> None:
        """Ends a job that had a lane, which then is free."""
        job.error = None if error is None else str(error) or type(error).__name__
        self._close_books(job)
        self._tell(job)
        self._free_lane()

    def _free_lane(self) -> None:
        with self._guard:
            if self._lanes is not None:
                self._free_lanes += 1
                self._fill_lanes()

    def _in_turn(self) -> Iterator[Job]:
        """Yields the jobs that have not been called, as they will be; the caller holds the guard."""
        waiting = (job for job in self._live if not job.is_called)
        if self._users_take_turns():
            return in_turn(waiting, self._served)
        return iter(sorted(waiting, key=lambda job: (-job.priority, job.order)))

    def _begin(self, job: Job) -> bool:
        """Marks a job as running. Returns False when it was cancelled."""
        if not job.begin():
            return False
        self.line.own()
        self._tell(job)
        return True

    def _finish(self, job: Job, error: BaseException | None) -> None:
        """Ends the running job for the books and then for the line; whoever waits for its result is told after that."""
        job.error = None if error is None else str(error) or type(error).__name__
        self._close_books(job)
        self._tell(job)
        self.line.give_back()

    def note_seeds(self, seeds: list[Any], job: Job | None = None) -> None:
        """Notes what a job, by default the one that has this device, has drawn; of several runs the first counts."""
        job = job or self.running()
        if job is not None and job.seeds is None:
            job.seeds = seeds
            self._tell(job)

    def _tell(self, job: Job) -> None:
        """Tells the listeners of a change; one that fails is named in the log, and costs the job nothing."""
        for listener in list(self.listeners):
            try:
                listener(job)
            except Exception:
                logger.exception("a listener of the queue failed")

    def _close_books(self, job: Job) -> bool:
        """Moves a job to those that are over. Returns False when it is there already."""
        with self._guard:
            if job not in self._live:
                return False
            del self._live[job]
            job.ended, job.turn, job.place = time.time(), None, None
            self._over.append(self._status(job))
            job.watched = job.task = None
            return True

    def _status(self, job: Job, position: int | None = None) -> JobStatus:
        state = job.state
        return JobStatus(
            id=job.id,
            name=job.name,
            state=state,
            is_task=job.is_task,
            user=job.user,
            submitted=job.submitted,
            started=job.started,
            ended=job.ended,
            progress=self._share(job) if state is JobState.RUNNING else float(state is JobState.DONE),
            error=job.error,
            position=position,
        )

    def _share(self, job: Job) -> float:
        return self._measure() if job.watched is None else job.watched.share()
