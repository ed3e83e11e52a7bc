"""job: the journal of this process, in its data directory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from modules import call_queue
from modules.job import sources
from modules.job.journal import Journal
from modules.job.row import Row
from modules.job.spool import Spool
from modules.paths_internal import data_path

FOLDER = os.path.join(data_path, "jobs")


listeners: list[Callable[[Row], object]] = []
"""Are told of each job that has changed, in any thread; they must not block."""


_guard = threading.Lock()
_open: list[Journal] = []


def journal() -> Journal:
    """Returns the journal of the data directory, opened once, when it is first asked for."""
    with _guard:
        if not _open:
            _open.append(_opened())
        return _open[0]


def _opened() -> Journal:
    from modules.job.store import JobStore  # with all of SQLAlchemy, which the page need not wait for

    store = JobStore(os.path.join(FOLDER, "jobs.sqlite3"))
    spool = Spool(os.path.join(FOLDER, "files"))
    made = Journal(store, spool, call_queue.queue, sources.make_plan, sources.again)
    made.listeners = listeners
    return made


def restore() -> None:
    """Opens the journal, and takes up what the last run of the program has left."""
    journal().restore()


def leave() -> None:
    """Has what waits stay as it is when the queue closes: it is taken up again at the next start."""
    for opened in _open:
        opened.leave()


def close() -> None:
    """Closes the journal, if it was ever opened."""
    with _guard:
        while _open:
            _open.pop().close()
