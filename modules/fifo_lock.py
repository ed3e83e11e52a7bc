"""base: a lock that is given to waiting threads in the order in which they asked for it."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class FIFOLock:
    """A mutual exclusion lock without barging: release hands it to the thread that has waited longest."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Event] = deque()

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock and return True; False if it is held and blocking is false."""
        with self._guard:
            if not self._held:
                self._held = True
                return True
            if not blocking:
                return False
            turn = threading.Event()
            self._waiting.append(turn)
        try:
            turn.wait()
        except BaseException:
            self._leave(turn)
            raise
        return True

    def release(self) -> None:
        """Give the lock to the next thread. Raises RuntimeError if it is not held."""
        with self._guard:
            if not self._held:
                raise RuntimeError("the lock is not held")
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False

    def locked(self) -> bool:
        return self._held

    def _leave(self, turn: threading.Event) -> None:
        """Stop waiting; a turn that was given meanwhile goes to the next."""
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
