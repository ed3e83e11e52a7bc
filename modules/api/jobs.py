"""face: the journal of this process, and a job as the API shows it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from modules import call_queue, progress
from modules.api import job_kinds
from modules.job.journal import Journal
from modules.job.spool import Spool
from modules.job.store import JobStore, Row, State
from modules.paths_internal import data_path

FOLDER = os.path.join(data_path, "jobs")


listeners: list[Callable[[Row], object]] = []
"""Are told of each job that has changed, in any thread; they must not block."""


def journal_file() -> str:
    """Returns the path of the file of all jobs."""
    return os.path.join(FOLDER, "jobs.sqlite3")


@functools.cache
def journal() -> Journal:
    """Returns the journal of the data directory, opened when it is first asked for."""
    store = JobStore(journal_file())
    spool = Spool(os.path.join(FOLDER, "files"))
    made = Journal(store, spool, call_queue.queue, job_kinds.make_plan, job_kinds.again)
    made.listeners += listeners
    return made


def restore() -> None:
    """Takes up what the last run of the program has left, if it wrote anything down."""
    if os.path.exists(journal_file()):
        journal().restore()


def leave() -> None:
    """Has what waits stay as it is when the queue closes: it is taken up again at the next start."""
    if journal.cache_info().currsize:
        journal().leave()


def close() -> None:
    """Closes the journal, if it was ever opened."""
    if journal.cache_info().currsize:
        journal().close()
        journal.cache_clear()


def described(row: Row, positions: dict[str, int] | None = None) -> dict[str, Any]:
    """Returns a job as clients see it. positions: id of a waiting job -> 1 for the one whose turn is next."""
    is_running = row.state == State.RUNNING
    share = progress.job_progress() if is_running else float(row.state == State.DONE)
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "position": (positions or {}).get(row.id) if row.state == State.QUEUED else None,
        "progress": share,
        "eta": progress.estimate_seconds_left(share) if is_running else None,
        "user": row.user,
        "priority": row.priority,
        "text": row.text,
        "submitted": row.submitted,
        "started": row.started,
        "ended": row.ended,
        "error": row.error,
        "images": len(row.results),
        "infotexts": [result["infotext"] for result in row.results],
    }


def positions() -> dict[str, int]:
    """Returns id -> place in the queue, of all jobs that wait."""
    return {job.id: place for place, job in enumerate(call_queue.queue.waiting(), 1)}
