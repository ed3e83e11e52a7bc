"""job: the state of a job that workers carry out, as the page and the API see it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from PIL import Image

from modules.options import Options
from modules.shared_state import State

REPORTED = (
    "job",
    "job_no",
    "job_count",
    "job_timestamp",
    "sampling_step",
    "sampling_steps",
    "textinfo",
    "skipped",
)
"""What a worker tells of its own state."""

BETWEEN_WISHES = 1.0
"""Seconds; a preview is made as long as somebody wants to see one."""


class RemoteState(State):
    """Holds what workers report. What the user asks for is passed on by `followers`, a wish for a preview too."""

    def __init__(self, opts: Options):
        super().__init__(opts)
        self._shares: dict[Any, tuple[float, int]] = {}
        self._wished = 0.0

    def report(self, worker: Any, values: dict[str, Any], is_leading: bool) -> None:
        """Takes in the state of a worker. is_leading: of several the one that leads the run."""
        own = State(self._opts)
        vars(own).update({name: values[name] for name in ("job_no", "job_count", "sampling_step", "sampling_steps")})
        self._shares[worker] = own.share(), own.job_no
        if is_leading:
            vars(self).update(values)
        self.job_no = sum(made for _, made in self._shares.values())

    def forget(self, worker: Any) -> None:
        """Takes back what a worker has reported, as it is lost."""
        self._shares.pop(worker, None)

    def share(self) -> float:
        """Returns the share of the job that is done by all workers together, 0..1."""
        return min(sum(share for share, _ in list(self._shares.values())), 1.0)

    def set_current_image(self) -> None:
        """Asks for a preview; it is there some time later."""
        if time.monotonic() - self._wished >= BETWEEN_WISHES:
            self._wished = time.monotonic()
            self._tell("preview")

    def show(self, preview: Image.Image) -> None:
        """Takes in a preview that a worker has made."""
        self.assign_current_image(preview)

    def follow(self, follower: Callable[[str], object]) -> Callable[[], None]:
        """Has a worker told what the user asks for, also what was asked before; returns what ends that."""
        self.followers.append(follower)
        for wish, is_asked in (("interrupt", self.interrupted), ("stop_generating", self.stopping_generation)):
            if is_asked:
                follower(wish)
        return lambda: self.followers.remove(follower)
