"""job: a job as it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The stage of a job's life, beyond that of the process that runs it."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    LOST = "lost"


OVER = (State.DONE, State.FAILED, State.CANCELLED, State.INTERRUPTED, State.LOST)
"""The states that nothing follows."""


@dataclass(frozen=True)
class Row:
    """A job as it is written down.

    id: what clients poll for; of several with the same id the latest is meant. number: in the order in which they came.
    place: orders the waiting ones of a user. after_restart: what becomes of it while it waits, "run", "hold" or
    "drop". text: what a search looks through. Times are seconds since the epoch. seeds: what the job drew, [seed,
    variation seed]. results: one dict for each image, with `infotext` and `file`, its path.
    """

    id: str
    kind: str
    state: State = State.QUEUED
    user: str | None = None
    priority: int = 0
    place: float = 0.0
    after_restart: str = "hold"
    webhook: str | None = None
    text: str = ""
    submitted: float = 0.0
    started: float | None = None
    ended: float | None = None
    error: str | None = None
    seeds: list[Any] | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0
