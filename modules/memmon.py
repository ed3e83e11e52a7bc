"""state: watches the memory of the CUDA device while a job runs, so that its peak can be shown with the result.

With devices and safe it is the third file of this layer that uses torch: it reads the counters of torch's allocator.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import psutil
import torch

logger = logging.getLogger(__name__)


class MemUsageMonitor(threading.Thread):
    """Polls the device from monitor() to stop(), memmon_poll_rate times a second; does nothing where there is no CUDA.

    data: bytes by name, as `read` returns them. opts: where memmon_poll_rate is read when a job begins.
    """

    def __init__(self, name: str, device: torch.device, opts: Any):
        super().__init__(name=name, daemon=True)
        self.device = device
        self.opts = opts
        self.run_flag = threading.Event()
        self.data: dict[str, int] = {}
        self.disabled = not self._can_measure()

    def cuda_mem_get_info(self) -> tuple[int, int]:
        """Returns free and total bytes of the device, whoever uses them."""
        index = self.device.index if self.device.index is not None else torch.cuda.current_device()
        return torch.cuda.mem_get_info(index)

    def monitor(self) -> None:
        """Begins to watch: peaks count from now on."""
        if self.disabled:
            return
        torch.cuda.reset_peak_memory_stats(self.device)
        self.data = {"min_free": self.cuda_mem_get_info()[0]}
        self.run_flag.set()
        if not self.is_alive():
            self.start()

    def run(self) -> None:
        """Polls whenever a job runs, for as long as the program does."""
        while True:
            self.run_flag.wait()
            rate = self.opts.memmon_poll_rate
            if rate <= 0:
                self.run_flag.clear()
                continue
            self.data["min_free"] = min(self.data["min_free"], self.cuda_mem_get_info()[0])
            time.sleep(1 / rate)

    def read(self) -> dict[str, int]:
        """Returns free, total, min_free, system_peak, and active and reserved bytes of torch now and at their peak."""
        if not self.disabled:
            free, total = self.cuda_mem_get_info()
            stats = torch.cuda.memory_stats(self.device)
            min_free = min(free, self.data.get("min_free", free))
            self.data |= {
                "free": free,
                "total": total,
                "min_free": min_free,
                "active": stats["active_bytes.all.current"],
                "active_peak": stats["active_bytes.all.peak"],
                "reserved": stats["reserved_bytes.all.current"],
                "reserved_peak": stats["reserved_bytes.all.peak"],
                "system_peak": total - min_free,
            }
        return self.data

    def stop(self) -> dict[str, int]:
        """Ends watching and returns the figures of the job."""
        self.run_flag.clear()
        return self.read()

    def dump_debug(self) -> None:
        """Logs the figures, and all that torch knows about its memory."""
        for name, value in self.read().items():
            logger.info("%s: %d", name, value)
        if not self.disabled:
            logger.info("%s", torch.cuda.memory_summary(self.device))

    def _can_measure(self) -> bool:
        if self.device.type != "cuda":
            return False
        try:
            self.cuda_mem_get_info()
            torch.cuda.memory_stats(self.device)
        except RuntimeError as e:  # some drivers do not tell
            logger.warning("the memory of %s cannot be watched: %s", self.device, e)
            return False
        return True


def memory_report() -> dict[str, dict[str, Any]]:
    """Returns what GET /sdapi/v1/memory answers: bytes of the machine's memory this process uses, and of the CUDA
    device.

    A part that can't be read holds only an "error".
    """
    return {"ram": _ram(), "cuda": _cuda()}


def _ram() -> dict[str, Any]:
    try:
        used, total = psutil.Process().memory_info().rss, psutil.virtual_memory().total
    except psutil.Error as e:
        return {"error": str(e)}
    return {"free": total - used, "used": used, "total": total}


def _cuda() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"error": "unavailable"}
    free, total = torch.cuda.mem_get_info()
    stats = torch.cuda.memory_stats()
    groups = {"active": "active_bytes", "allocated": "allocated_bytes", "reserved": "reserved_bytes"}
    groups["inactive"] = "inactive_split_bytes"
    report: dict[str, Any] = {"system": {"free": free, "used": total - free, "total": total}}
    for name, counter in groups.items():
        report[name] = {"current": stats[f"{counter}.all.current"], "peak": stats[f"{counter}.all.peak"]}
    report["events"] = {"retries": stats["num_alloc_retries"], "oom": stats["num_ooms"]}
    return report
