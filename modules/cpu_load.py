"""base: how many cores of the machine other programs leave free."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

LOADAVG, STAT = Path("/proc/loadavg"), Path("/proc/stat")

NOT_BUSY = (3, 4)
"""Which numbers of the machine's line in STAT are of time in which a core had nothing to do, or waited for a disk."""

WINDOW = (0.05, 2.0)
"""Seconds over which the time that others take is looked at: at least, so that it is more than a moment; at most, so
that it is what they take now.
"""


@dataclass(frozen=True)
class Reading:
    """Seconds of the processor until `time`: of all programs, those of other machines on the same processor included,
    and of this one.
    """

    time: float
    all: float
    own: float


def read() -> Reading:
    """Returns the time that was taken until now. Raises OSError and ValueError where nothing tells it."""
    ticks = STAT.read_text().partition("\n")[0].split()[1:9]  # "cpu  74608 2520 24433 1117073 6176 4054 0 0 0 0"
    busy = sum(int(count) for place, count in enumerate(ticks) if place not in NOT_BUSY)
    return Reading(time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), time.process_time())


class Watch:
    """Looks at what other programs take, again and again."""

    def __init__(self) -> None:
        self.last: Reading | None = None

    def cores_of_others(self) -> int:
        """Returns how many cores others take: since the last look, if that was a moment ago, as it is between the jobs
        of a queue, else for a moment that it waits. 0 where nothing tells it, as outside of Linux.
        """
        try:
            before, now = self.last, read()
            if before is None or not WINDOW[0] <= now.time - before.time <= WINDOW[1]:
                time.sleep(WINDOW[0])
                before, now = now, read()
        except (OSError, ValueError):
            return 0
        self.last = now
        return round(max(0.0, (now.all - before.all) - (now.own - before.own)) / (now.time - before.time))


watch = Watch()


def cores_for(most: int) -> int:
    """Returns how many cores are free for a program that can use so many, 1 at least; all where nothing tells it."""
    cores = os.cpu_count() or 1
    if cores - threads_that_run() >= most:  # most often, and quickly told
        return most
    return max(1, min(most, cores - watch.cores_of_others()))


def threads_that_run() -> int:
    """Returns how many threads of the machine run or wait for a core, others of this program too, beside the one that
    asks; 0 where nothing tells it.
    """
    try:
        running = LOADAVG.read_text().split()[3].partition("/")[0]  # "0.20 0.18 0.12 3/450 11206"
        return max(0, int(running) - 1)
    except (OSError, ValueError, IndexError):
        return 0
