"""base: how many cores of the machine other programs leave free."""

from __future__ import annotations

import os
import time
from pathlib import Path

LOADAVG = Path("/proc/loadavg")

READINGS, BETWEEN_READINGS = 3, 0.001
"""How often, and how many seconds apart, a machine that looks busy is looked at: most programs run for a moment."""


def cores_for(most: int) -> int:
    """Returns how many cores are free for a program that can use so many, 1 at least; all where nothing tells it."""
    free = 0
    for _ in range(READINGS):
        free = max(free, (os.cpu_count() or 1) - others_that_run())
        if free >= most:
            return most
        time.sleep(BETWEEN_READINGS)
    return max(1, free)


def others_that_run() -> int:
    """Returns how many threads of the machine run or wait for a core, beside the one that asks; 0 where nothing tells
    it, as outside of Linux.
    """
    try:
        running = LOADAVG.read_text().split()[3].partition("/")[0]  # "0.20 0.18 0.12 3/450 11206"
        return max(0, int(running) - 1)
    except (OSError, ValueError, IndexError):
        return 0
