"""base: the files of one run: those it must not replace, as it works on them or has written them, and who is told of
those that it writes.

A run is one click or one request. Settings may let results replace the files of earlier runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_kept: ContextVar[set[str] | None] = ContextVar("kept_files", default=None)

told: ContextVar[Callable[[str], object] | None] = ContextVar("told_of_files", default=None)
"""Who is told of each file that a run makes, just before it appears; nobody, unless a context says so."""


def announce(path: str) -> None:
    """Tells of a file that is about to appear; one that takes the place of another is no new one."""
    listener = told.get()
    if listener is not None and not os.path.exists(path):
        listener(os.path.abspath(path))


@contextmanager
def one_run() -> Iterator[None]:
    """Keeps files for as long as the block, or the function it decorates, runs; inside another run it is part of it."""
    if _kept.get() is not None:
        yield
        return
    token = _kept.set(set())
    try:
        yield
    finally:
        _kept.reset(token)


def keep(paths: Iterable[str]) -> None:
    """Notes files that nothing in this run may replace; outside of a run it does nothing."""
    kept = _kept.get()
    if kept is not None:
        kept.update(map(_place, paths))


def is_kept(path: str) -> bool:
    """Returns whether this run must not replace a file."""
    kept = _kept.get()
    return bool(kept) and _place(path) in kept


def _place(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))
