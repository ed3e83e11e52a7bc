"""base: threads and memory of this process, set before torch is loaded. Stdlib only."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What OpenMP reads of how its threads wait."""

WAITING = {"GOMP_SPINCOUNT": "10000", "OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "1"}
"""How long a thread waits before it sleeps. For GNU's OpenMP, which torch has on Linux, turns; and by the policy it is
1000 of them, not 100, when another thread of the program that has computed is still there, such as one of an extension:
it takes all of their threads for running ones. For Intel's and LLVM's milliseconds, without which the policy would have
threads wait for ever.
"""

STRICT_SUMS = "AUTO,STRICT"

ALLOCATOR_VARIABLES = ("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")
"""By these users choose how memory is allocated, or another allocator."""

M_MXFAST, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = 1, -1, -3, -4, -8  # as malloc.h has them
KEEP_FREED = ((M_ARENA_MAX, 1), (M_MXFAST, 0), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1))
GIVE_BACK_FREED = ((M_MMAP_MAX, 2**16), (M_MMAP_THRESHOLD, 2**17), (M_TRIM_THRESHOLD, 2**17))

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def set_up() -> None:
    """Brings threads and memory of this process into the state that the program is fastest in."""
    choose_waiting()
    fit_threads()
    add_in_one_order()
    keep_freed_memory()


def choose_waiting() -> None:
    """Has threads of OpenMP that wait for each other spin for a moment, then sleep, unless the environment says how.

    It is read when torch is loaded.
    """
    if not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ |= WAITING


def add_in_one_order() -> None:
    """Has MKL add in an order that does not depend on the number of threads, unless the environment says how it adds.

    It is read when MKL first computes.
    """
    os.environ.setdefault("MKL_CBWR", STRICT_SUMS)


def may_change_threads() -> bool:
    """Returns whether the number of threads may follow what other programs leave free: images are the same with any
    number, threads that wait do not look busy for long, and the user has not chosen how many there are.
    """
    has_strict_sums = "STRICT" in os.environ.get("MKL_CBWR", "")
    spins_shortly = os.environ.get("GOMP_SPINCOUNT") == WAITING["GOMP_SPINCOUNT"]
    sleeps = spins_shortly or os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    return has_strict_sums and sleeps and chosen_threads() is None


@cache
def keep_freed_memory() -> None:
    """Has the C library keep freed memory for the next tensors, unless the environment says how it allocates.

    By itself glibc gives large pieces back at once, and each large tensor takes fresh pages, which cost more time than
    filling them: a decoded image of 512x512 pixels a fourth more. What is kept is given back after jobs, and whenever
    weights were freed, by `devices.main_memory`. With a GPU too, where jobs scale and save images here. One arena for
    all threads, since those beyond the first hold no large pieces. No bins of small pieces that are only put together
    when a large one is freed, which each layer does.
    """
    set_allocator(KEEP_FREED)


def give_back_freed_memory() -> None:
    """Has the C library give large pieces back as soon as they are freed, until freed memory is to be kept again.

    A server that only waits, or whose workers have the jobs, would keep what serving the page takes: 20 MB.
    """
    set_allocator(GIVE_BACK_FREED)
    keep_freed_memory.cache_clear()


def set_allocator(options: Iterable[tuple[int, int]]) -> None:
    """Sets options of glibc's `mallopt`, where that is what allocates and the environment says nothing of it."""
    if sys.platform != "linux" or any(name in os.environ for name in ALLOCATOR_VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have none
        for option, value in options:
            mallopt(option, value)


def fit_threads() -> None:
    """Has as many threads compute as a container may use cores, unless the environment says how many.

    The cores that the process is bound to count by themselves, a limit of their time does not. Read when torch is
    loaded.
    """
    limit = core_limit()
    # Control groups are Linux's, and so is this.
    if limit is not None and limit < len(os.sched_getaffinity(0)) and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = fitted.threads = str(max(1, math.floor(limit)))


@dataclass
class Fitted:
    """How many threads this process was given, None if that was the environment's choice or torch's."""

    threads: str | None = None


fitted = Fitted()


def chosen_threads() -> str | None:
    """Returns how many threads the user has chosen by the environment, None for no choice."""
    found = os.environ.get("OMP_NUM_THREADS")
    return None if found == fitted.threads else found


def cores() -> int:
    """Returns how many cores this process may use: those that it is bound to, and no more than a container's limit."""
    bound_to = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = core_limit()
    return bound_to if limit is None else max(1, min(bound_to, math.floor(limit)))


def core_limit() -> float | None:
    """Returns how many cores' time the control groups (cgroups) of this process allow, None for no limit."""
    limits = []
    try:
        groups = OWN_GROUP.read_text().splitlines()
        own = next((line.removeprefix("0::") for line in groups if line.startswith("0::")), "/").strip("/")
        group = CGROUPS / own
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(CGROUPS))):  # version 2
            limits.append(quota(*read_words(folder / "cpu.max")))
        first = CGROUPS / "cpu"  # version 1
        limits.append(quota(*read_words(first / "cpu.cfs_quota_us"), *read_words(first / "cpu.cfs_period_us")))
    except (OSError, ValueError, ZeroDivisionError):  # no such system, or one that nobody foresaw: no limit is known
        return None
    return min((limit for limit in limits if limit is not None), default=None)


def read_words(file: Path) -> list[str]:
    """Returns the words of a file, none if there is no such file."""
    return file.read_text().split() if file.is_file() else []


def quota(allowed: str = "max", period: str = "100000") -> float | None:
    """Returns cores of a share of time, allowed microseconds a period; None for none."""
    return float(allowed) / float(period) if allowed not in ("max", "-1") else None
