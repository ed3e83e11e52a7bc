"""base: a lock that is given to those who wait for it in the order in which they asked."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType


class FIFOLock:
    """A mutual exclusion lock without barging: release hands it to whoever has waited longest.

    A thread waits in `acquire`; what must not block lines up with a function that is called when its turn comes. The
    thread that has the lock gets it again at once, and has it until it was released as often.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._owner: int | None = None
        self._repeats = 0
        self._waiting: deque[Callable[[], object]] = deque()

    def line_up(self, turn: Callable[[], object]) -> None:
        """Calls `turn` once the lock belongs to the caller: at once if it is free, else in the thread that releases it.

        `turn` must not block, and is the key to `leave` the line again.
        """
        with self._guard:
            if self._held:
                self._waiting.append(turn)
                return
            self._held = True
        turn()

    def leave(self, turn: Callable[[], object]) -> bool:
        """Gives up a place in line. Returns False when the turn had come meanwhile; it goes to the next."""
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return True
        self.release()
        return False

    def own(self) -> None:
        """Notes that the lock, which a `turn` has brought, belongs to the calling thread."""
        self._owner = threading.get_ident()

    def is_own(self) -> bool:
        """Tells whether the calling thread has the lock."""
        return self._owner == threading.get_ident()

    def acquire(self, blocking: bool = True) -> bool:
        """Takes the lock and returns True; returns False if another thread has it and blocking is false."""
        if self.is_own():
            self._repeats += 1
            return True
        if not blocking:
            with self._guard:
                if self._held:
                    return False
                self._held = True
            self.own()
            return True
        turn = threading.Event()
        self.line_up(turn.set)
        try:
            turn.wait()
        except BaseException:
            self.leave(turn.set)
            raise
        self.own()
        return True

    def release(self) -> None:
        """Takes back one `acquire`; the last one gives the lock to the next in line.

        Any thread may release it for good. Raises RuntimeError if it is not held.
        """
        if self.is_own() and self._repeats:
            self._repeats -= 1
            return
        with self._guard:
            if not self._held:
                raise RuntimeError("the lock is not held")
            self._owner, self._repeats = None, 0
            turn = self._waiting.popleft() if self._waiting else None
            self._held = turn is not None
        if turn is not None:
            turn()

    def give_back(self) -> None:
        """Releases the lock however often the calling thread has taken it; changes nothing when it has lost it."""
        if self.is_own():
            self._repeats = 0
            self.release()

    @property
    def _lock(self) -> FIFOLock:
        """The lock itself: a name that extensions ask for `locked`."""
        return self

    def locked(self) -> bool:
        """Tells whether somebody holds the lock."""
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
