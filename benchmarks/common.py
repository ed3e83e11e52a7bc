"""What the benchmarks share: the program set up in this process or served by another one, and a clock that runs only
while a network does.
"""

import atexit
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

FLAGS = ["--nowebui", "--use-cpu", "all", "--no-half", "--precision", "full"]


def temporary_folder() -> Path:
    """Returns a new folder that is there for as long as this process lives."""
    folder = tempfile.mkdtemp(prefix="serena-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def set_up(flags: list[str] | None = None) -> None:
    """Flags and a data directory for as long as this process lives, before anything of the program is imported."""
    sys.argv = ["webui.py", "--data-dir", str(temporary_folder()), *(FLAGS if flags is None else flags)]
    from modules import launch_process

    launch_process.set_up()


def api_client(flags: list[str] | None = None) -> Any:
    """Returns a client of the REST API in this process, with the embedded model loaded."""
    set_up(flags)
    from fastapi.testclient import TestClient

    import webui
    from modules import initialize

    initialize.initialize()
    return TestClient(webui.create_app())


def free_port() -> int:
    """Returns a port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def served(tree: Path, flags: list[str] | None = None) -> Iterator[tuple[int, subprocess.Popen]]:
    """Runs the program of a tree and gives the port it serves on, and its process."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="serena-bench-") as data_dir:
        flags = [*(FLAGS if flags is None else flags), "--data-dir", data_dir, "--port", str(port)]
        command = [sys.executable, "launch.py", *flags]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # a device that leaves the server a processor to run on
        program = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield port, program
            assert program.poll() is None, "the program ended by itself"
        finally:
            program.kill()
            program.wait()


@contextlib.contextmanager
def own_server() -> Iterator[int]:
    """Serves the program from this process, the embedded model loaded, and gives its port."""
    set_up()
    import webui
    from modules import initialize, server, shared

    initialize.initialize()
    running = server.Server(server.open_socket("127.0.0.1", free_port()))
    running.start()
    running.attach(webui.create_app())
    assert shared.sd_model is not None
    try:
        yield running.port
    finally:
        running.detach()
        running.stop()


class NetworkClock:
    """Seconds spent in the networks since `seconds` was last set."""

    seconds = 0.0
    _started = 0.0

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._started


@contextlib.contextmanager
def network_clock(sd_model: Any) -> Iterator[NetworkClock]:
    """Times the forward calls of U-Net, text encoder, and the VAE's decoder.

    Without hooks, with which the U-Net would be computed as one that an extension has changed.
    """
    clock = NetworkClock()
    encoders = [text.wrapped.transformer for text in sd_model.cond_stage_model.encoders.values()]
    parts = (sd_model.model.diffusion_model, *encoders, sd_model.first_stage_model.decoder)
    networks, kinds = {id(part) for part in parts}, {type(part) for part in parts}

    def timed(forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def timed_forward(network: Any, *args: Any, **kwargs: Any) -> Any:
            if id(network) not in networks:
                return forward(network, *args, **kwargs)
            clock.start()
            try:
                return forward(network, *args, **kwargs)
            finally:
                clock.stop()

        return timed_forward

    with contextlib.ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(mock.patch.object(kind, "forward", timed(kind.forward)))
        yield clock


def use_unet_of_sd15_size(sd_model: Any) -> None:
    """Puts random weights of SD1.5's U-Net in place of the loaded model's; its text width stays."""
    from diffusers import UNet2DConditionModel

    from modules import denoisers

    unet = UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(320, 640, 1280, 1280),
        attention_head_dim=8,
        cross_attention_dim=sd_model.network("denoiser").config.cross_attention_dim,
    ).eval()
    sd_model.model.diffusion_model = denoisers.kind_of(sd_model.family).lay_out(unet.requires_grad_(False))
