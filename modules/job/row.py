"""job: a job as it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from modules import infotext


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
    variation seed]. results: one dict for each image, with `infotext` and `file`, its path. model: the checkpoint that
    made them. webhook: the address that is told when it is over; webhook_due: when to call it, None while it is not or
    no more; webhook_tries, webhook_error: how often it was called in vain, and what the last call came to.
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
    model: str | None = None
    webhook_due: float | None = None
    webhook_tries: int = 0
    webhook_error: str | None = None
    number: int = 0


def model_of(text: str) -> str | None:
    """Returns the name of the model in an infotext, None if there is none."""
    pairs = infotext.pairs_of(infotext.split_infotext(text).parameters)
    return next((infotext.unquote(raw) for key, raw in pairs if key == "Model"), None)
