import threading
from types import SimpleNamespace

import pytest
import torch

from modules import memmon

GIB = 1024**3


class Card:
    """A stand-in for torch.cuda: 8 GiB of which the free part is set by the test."""

    def __init__(self, monkeypatch):
        self.free = [6 * GIB]
        self.resets = 0
        self.polled = threading.Event()
        cuda = memmon.torch.cuda
        monkeypatch.setattr(cuda, "mem_get_info", self.mem_get_info)
        monkeypatch.setattr(cuda, "current_device", lambda: 0)
        monkeypatch.setattr(cuda, "reset_peak_memory_stats", self.reset)
        monkeypatch.setattr(cuda, "memory_summary", lambda device: "the summary")
        stats = {
            f"{kind}_bytes.all.{when}": n
            for n, kind in enumerate(["active", "reserved"])
            for when in ["current", "peak"]
        }
        monkeypatch.setattr(cuda, "memory_stats", lambda device: stats)

    def mem_get_info(self, index):
        self.polled.set()
        return self.free[0], 8 * GIB

    def reset(self, device):
        self.resets += 1


@pytest.fixture
def card(monkeypatch):
    return Card(monkeypatch)


def create(rate=100):
    return memmon.MemUsageMonitor("MemMon", torch.device("cuda"), SimpleNamespace(memmon_poll_rate=rate))


def test_without_cuda_it_does_nothing():
    monitor = memmon.MemUsageMonitor("MemMon", torch.device("cpu"), SimpleNamespace(memmon_poll_rate=8))
    monitor.monitor()
    assert monitor.disabled and not monitor.is_alive()
    assert monitor.read() == {} == monitor.stop()
    monitor.dump_debug()


def test_card_that_tells_nothing_disables_it(card, monkeypatch, caplog):
    def refuse(device):
        raise RuntimeError("not supported")

    monkeypatch.setattr(memmon.torch.cuda, "memory_stats", refuse)
    assert create().disabled and "cannot be watched: not supported" in caplog.text


def test_peak_between_begin_and_end_is_seen(card):
    monitor = create()
    monitor.monitor()
    card.free[0] = 2 * GIB
    card.polled.clear()
    assert card.polled.wait(10) and (card.polled.clear() or card.polled.wait(10))
    card.free[0] = 6 * GIB
    figures = monitor.stop()
    assert card.resets == 1
    assert figures["system_peak"] == 6 * GIB and figures["min_free"] == 2 * GIB
    assert (figures["free"], figures["total"]) == (6 * GIB, 8 * GIB)
    assert (figures["active_peak"], figures["reserved_peak"]) == (0, 1)


def test_rate_of_zero_polls_never_but_still_reads(card):
    monitor = create(rate=0)
    monitor.monitor()
    for _ in range(1000):
        if not monitor.run_flag.is_set():
            break
        threading.Event().wait(0.001)
    card.free[0] = 1 * GIB
    assert monitor.stop()["system_peak"] == 7 * GIB


def test_debug_dump_logs_everything(card, caplog):
    caplog.set_level("INFO")
    create().dump_debug()
    assert "the summary" in caplog.text and f"total: {8 * GIB}" in caplog.text
