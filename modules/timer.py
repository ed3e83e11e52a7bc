"""base: measures how long named steps take, and the steps of the program's start in particular."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)


class TimerSubcategory:
    """While entered, records go under a category below the current one; their sum is added to the category itself."""

    def __init__(self, timer: Timer, category: str):
        self.timer = timer
        self.category = category
        self.start: float | None = None
        self.original_base_category = timer.base_category

    def __enter__(self) -> None:
        self.start = time.time()
        self.timer.base_category = f"{self.original_base_category}{self.category}/"
        self.timer.log(f"{self.category}:")
        self.timer.subcategory_level += 1

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        assert self.start is not None
        elapsed = time.time() - self.start
        self.timer.base_category = self.original_base_category
        self.timer.add_time_to_record(self.original_base_category + self.category, elapsed)
        self.timer.subcategory_level -= 1
        self.timer.log(f"{self.category}: done in {elapsed:.3f}s")


class Timer:
    """Adds up seconds by category: record(x) books the time since the last record under x.

    records: category -> seconds. total: sum over the outermost categories. print_log: log each record as it is made.
    """

    def __init__(self, print_log: bool = False):
        self.print_log = print_log
        self.reset()

    def reset(self) -> None:
        """Forgets all records and starts to measure anew."""
        self.start = time.time()
        self.records: dict[str, float] = {}
        self.total: float = 0
        self.base_category = ""
        self.subcategory_level = 0

    def elapsed(self) -> float:
        """Returns the seconds since the last call, and starts anew."""
        end = time.time()
        result = end - self.start
        self.start = end
        return result

    def add_time_to_record(self, category: str, amount: float) -> None:
        """Adds seconds to the record of a category."""
        self.records[category] = self.records.get(category, 0) + amount

    def record(self, category: str, extra_time: float = 0, disable_log: bool = False) -> None:
        """Books the seconds since the last record, and extra_time, under category."""
        elapsed = self.elapsed()
        self.add_time_to_record(self.base_category + category, elapsed + extra_time)
        self.total += elapsed + extra_time
        if not disable_log:
            self.log(f"{category}: done in {elapsed + extra_time:.3f}s")

    def subcategory(self, name: str) -> TimerSubcategory:
        """Returns a context manager under which records are named name/category."""
        self.elapsed()
        return TimerSubcategory(self, name)

    def log(self, message: str) -> None:
        """Logs a message at the depth of the current category, if that is wanted."""
        if self.print_log:
            logger.info("%s%s", "  " * self.subcategory_level, message)

    def summary(self) -> str:
        """Returns one line: the total and the categories that took at least 0.1 s."""
        shown = [
            (category, seconds) for category, seconds in self.records.items() if seconds >= 0.1 and "/" not in category
        ]
        if not shown:
            return f"{self.total:.1f}s."
        return f"{self.total:.1f}s ({', '.join(f'{category}: {seconds:.1f}s' for category, seconds in shown)})."

    def dump(self) -> dict[str, Any]:
        """Returns the seconds in all and by category."""
        return {"total": self.total, "records": self.records}


startup_timer = Timer()

# What startup_timer.dump() said when the start was over; {} until then. Served by /internal/profile-startup.
startup_record: dict[str, Any] = {}
