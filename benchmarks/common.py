"""What the benchmarks share: the program set up in this process, and a clock that runs only while a network does."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

FLAGS = ["--nowebui", "--use-cpu", "all", "--no-half", "--precision", "full"]


def set_up(flags: list[str] | None = None) -> None:
    """Flags and a fresh data directory, before anything of the program is imported."""
    sys.argv = [
        "webui.py",
        "--data-dir",
        tempfile.mkdtemp(prefix="serena-bench-"),
        *(FLAGS if flags is None else flags),
    ]


def api_client(flags: list[str] | None = None) -> Any:
    """Returns a client of the REST API in this process, with the embedded model loaded."""
    set_up(flags)
    from fastapi.testclient import TestClient

    import webui
    from modules import initialize

    initialize.initialize()
    return TestClient(webui.create_app())


class NetworkClock:
    """Seconds spent in the networks since `seconds` was last set."""

    seconds = 0.0
    _started = 0.0

    def start(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def stop(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._started


@contextlib.contextmanager
def network_clock(sd_model: Any) -> Iterator[NetworkClock]:
    """Times the forward calls of U-Net, text encoder, and the VAE's decoder."""
    clock = NetworkClock()
    networks = [sd_model.model.diffusion_model, sd_model.cond_stage_model.wrapped, sd_model.first_stage_model.decoder]
    handles = []
    for network in networks:
        handles.append(network.register_forward_pre_hook(clock.start))
        handles.append(network.register_forward_hook(clock.stop))
    try:
        yield clock
    finally:
        for handle in handles:
            handle.remove()
