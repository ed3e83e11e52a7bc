"""face: a job as the API shows it."""

from __future__ import annotations

from typing import Any

from modules import call_queue, progress
from modules.job.row import Row, State


def described(row: Row, positions: dict[str, int] | None = None) -> dict[str, Any]:
    """Returns a job as clients see it. positions: id of a waiting job -> 1 for the one whose turn is next."""
    is_running = row.state == State.RUNNING
    state = progress.state_of(call_queue.queue.find(row.id) if is_running else None)
    share = state.share() if is_running else float(row.state == State.DONE)
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "position": (positions or {}).get(row.id) if row.state == State.QUEUED else None,
        "progress": share,
        "eta": progress.estimate_seconds_left(share, state) if is_running else None,
        "user": row.user,
        "priority": row.priority,
        "text": row.text,
        "submitted": row.submitted,
        "started": row.started,
        "ended": row.ended,
        "error": row.error,
        "images": len(row.results),
        "infotexts": [result["infotext"] for result in row.results],
        "model": row.model,
        "webhook": row.webhook,
        "webhook_error": row.webhook_error,
    }


def positions() -> dict[str, int]:
    """Returns id -> place in the queue, of all jobs that wait."""
    return {job.id: place for place, job in enumerate(call_queue.queue.waiting(), 1)}
