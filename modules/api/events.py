"""face: what happens to jobs, told to all who listen: server-sent events, each encoded once however many there are."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from modules import call_queue, jobs, progress, shared
from modules.api import job_view
from modules.job.queue import Job
from modules.job.row import Row

KEPT = 1000
"""Events that a listener can catch up with."""

MOST_WAITING = 200
"""Events that may wait for one listener; one that is slower than this is told to read everything anew."""

MOST_DIGITS = 18
"""Of the number of an event that a listener says it has heard."""

SECONDS_BETWEEN = 0.5
"""Between two looks at the progress of the running job."""

SECONDS_OF_SILENCE = 15.0
"""After which a comment is sent, so that proxies keep the connection."""

RESYNC = "event: resync\ndata: {}\n\n"
"""Tells a listener that events are missing: what it knows has to be read anew."""


@dataclass(eq=False)
class Listener:
    """A connection. only: the user whose jobs it hears of, None for all. loop: the event loop it lives in."""

    wants_previews: bool
    only: str | None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    texts: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))
    is_behind: bool = False

    def put(self, text: str) -> None:
        """Hands over an event; called in the listener's loop."""
        try:
            self.texts.put_nowait(text)
        except asyncio.QueueFull:
            self.is_behind = True


class Events:
    """The events of this run of the program, in order, and those who listen."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._run = uuid.uuid4().hex[:8]
        self._number = 0
        self._kept: deque[tuple[int, str | None, str]] = deque(maxlen=KEPT)
        self._listeners: set[Listener] = set()
        self._watch: asyncio.Task[None] | None = None

    def changed(self, row: Row) -> None:
        """Tells of a job that was queued, has begun or is over. May be called in any thread."""
        said = as_text("job", job_view.described(row))
        with self._guard:
            self._number += 1
            text = f"id: {self._run}-{self._number}\n{said}"
            self._kept.append((self._number, row.user, text))
            self._hand(row.user, text)

    async def follow(
        self, last_id: str | None = None, wants_previews: bool = True, only: str | None = None
    ) -> AsyncIterator[str]:
        """Yields events as they are sent, those after `last_id` first. Ends when whoever iterates stops.

        only: the user whose jobs alone are told of.
        """
        listener = Listener(wants_previews, only)
        self._listeners.add(listener)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_progress())
        try:
            for text in self._missed(last_id, only):
                yield text
            while True:
                if listener.is_behind:
                    listener.is_behind = False
                    listener.texts = asyncio.Queue(MOST_WAITING)
                    yield RESYNC
                try:
                    async with asyncio.timeout(SECONDS_OF_SILENCE):
                        text = await listener.texts.get()
                except TimeoutError:
                    text = ": nothing new\n\n"
                yield text
        finally:
            self._listeners.discard(listener)

    def _missed(self, last_id: str | None, only: str | None) -> list[str]:
        if last_id is None:
            return [": welcome\n\n"]
        run, _, number = last_id.partition("-")
        kept = list(self._kept)
        oldest = kept[0][0] if kept else self._number + 1
        if run != self._run or not number.isdecimal() or len(number) > MOST_DIGITS or int(number) + 1 < oldest:
            return [RESYNC]
        return [text for n, user, text in kept if n > int(number) and only in (None, user)]

    def _hand(self, user: str | None, text: str, plain: str | None = None) -> None:
        """Hands an event about a job of a user to those who hear of it. plain: the same without a preview."""
        by_loop: defaultdict[asyncio.AbstractEventLoop, list[Listener]] = defaultdict(list)
        for listener in list(self._listeners):
            if listener.only in (None, user):
                by_loop[listener.loop].append(listener)
        for loop, listeners in by_loop.items():
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(put_to, listeners, text, text if plain is None else plain)

    async def _watch_progress(self) -> None:
        """Tells how far the running jobs are, as long as somebody listens."""
        told: dict[str, tuple[Any, ...]] = {}
        while self._listeners:
            before, told = told, {}
            for job in call_queue.queue.running_jobs():
                if job.record is None:
                    continue
                wants_previews = any(listener.wants_previews for listener in self._listeners)
                said = await run_in_threadpool(progress_of, job, wants_previews)
                told[job.id] = (said["progress"], said.get("preview"))
                if told[job.id] != before.get(job.id):
                    self._tell_progress(job.user, said)
            await asyncio.sleep(SECONDS_BETWEEN)

    def _tell_progress(self, user: str | None, said: dict[str, Any]) -> None:
        plain = as_text("progress", {key: value for key, value in said.items() if key != "preview"})
        self._hand(user, as_text("progress", said), plain)


def put_to(listeners: Sequence[Listener], text: str, plain: str) -> None:
    """Hands over an event to listeners of this loop, `plain` to those who want no previews."""
    for listener in listeners:
        listener.put(text if listener.wants_previews else plain)


def as_text(name: str, data: dict[str, Any]) -> str:
    """Returns an event as it is sent."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def progress_of(job: Job, wants_preview: bool) -> dict[str, Any]:
    """Returns how far a running job is, with a preview as a data URI if there is one."""
    state = progress.state_of(job)
    share = state.share()
    said = {
        "id": job.id,
        "progress": share,
        "eta": progress.estimate_seconds_left(share, state),
        "step": state.sampling_step,
        "steps": state.sampling_steps,
        "text": state.textinfo,
    }
    if wants_preview and shared.opts.live_previews_enable:
        state.set_current_image()
        if state.current_image is not None:
            said["preview"] = progress.encode_preview(state.current_image)
    return said


events = Events()
"""The events of this process."""
jobs.listeners.append(events.changed)
