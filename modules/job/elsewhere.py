"""job: the seam at which a request is carried out by another process instead of this one."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from modules.job.queue import Job
    from modules.job.request import JobRequest


class Carrier(Protocol):
    """Whoever has other processes carry out requests."""

    def takes(self, job: Job) -> bool:
        """Says whether another process can carry out what a job asks for."""

    def carry_out(self, job: Job, request: JobRequest) -> Any:
        """Returns the result of a request that the running job makes; raises what carrying it out has raised."""

    def tell(self, wish: Literal["unload", "reload"]) -> None:
        """Has each process move its model from the device, or to it, after what it is doing. Does not wait for it."""


carrier: Carrier | None = None
"""None while this process does everything itself."""


def has_models() -> bool:
    """Says whether other processes have the models, so that this one need not load any."""
    return carrier is not None


carry_out: ContextVar[Callable[[JobRequest], Any] | None] = ContextVar("carry_out", default=None)
"""In the work of a job that other processes carry out: what does so with a request. Elsewhere None."""


def carried(by: Carrier, job: Job, work: Callable[[], Any]) -> Any:
    """Returns what `work` returns; the requests that it runs are carried out by other processes."""
    carry_out.set(partial(by.carry_out, job))
    return work()
