"""state: names code of extensions that hangs, while it hangs: one thread looks once a second at the calls under way."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Protocol

from modules import extensions, shared

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


class Watched(Protocol):
    """A call under way: which hook, of which file, and since when (`time.perf_counter`)."""

    hook: str
    script: str
    started: float


class HookWatch:
    """The calls under way. limit: seconds after which one of them is named, and again each time it has taken twice as
    long; 0 for never.
    """

    def __init__(self, limit: Callable[[], float], poll_seconds: float = POLL_SECONDS):
        self._limit = limit
        self._poll_seconds = poll_seconds
        self._threads: dict[Watched, int] = {}
        self._next: dict[Watched, float] = {}
        self._watcher: threading.Thread | None = None

    def enter(self, call: Watched) -> None:
        """Watches a call of the calling thread."""
        self._threads[call] = threading.get_ident()
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="hook watch", daemon=True)
            self._watcher.start()

    def leave(self, call: Watched) -> None:
        """Ends the watching of a call, and says so of one that was named."""
        self._threads.pop(call, None)
        if self._next.pop(call, None) is not None:
            seconds = time.perf_counter() - call.started
            logger.warning("Hook %s of %s has ended after %.0f s", call.hook, name_of(call.script), seconds)

    def _watch(self) -> None:
        while True:
            time.sleep(self._poll_seconds)
            for call, thread in self.innermost():
                self.look_at(call, thread)

    def innermost(self) -> Iterator[tuple[Watched, int]]:
        """Yields (call, thread) of each thread: of calls within calls the one that everything waits for."""
        for thread, call in {thread: call for call, thread in self._threads.copy().items()}.items():
            yield call, thread

    def look_at(self, call: Watched, thread: int) -> None:
        """Names a call that has taken too long, with the place where its thread is."""
        limit = self._limit()
        if limit <= 0:
            return
        seconds = time.perf_counter() - call.started
        if seconds < self._next.get(call, limit):
            return
        place = place_in(thread, call.script)
        if call in self._threads:  # it may have ended meanwhile
            self._next[call] = 2 * seconds
            logger.warning(
                "Hook %s of %s has been running for %.0f s%s", call.hook, name_of(call.script), seconds, place
            )


def name_of(script: str) -> str:
    """Returns a file, after the name of its extension if it belongs to one."""
    extension = extensions.find_extension(script)
    return f"extension {extension.name} [{script}]" if extension is not None else script


def place_in(thread: int, script: str) -> str:
    """Returns where a thread is, as the end of a sentence: the last line in the folder of the script's extension."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ""
    frames = traceback.extract_stack(frame)
    extension = extensions.find_extension(script)
    folder = extension.path if extension is not None else script
    own = [frame for frame in frames if frame.filename.startswith(folder)]
    last = (own or frames)[-1]
    return f": it is at {last.filename}, line {last.lineno}, in {last.name}"


watch = HookWatch(lambda: shared.opts.hook_seconds)
