"""job: workers as actors of Ray, on this machine or others. Imports nothing of the program that reads the command line,
because that of an actor is set in it.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from modules import launch_process
from modules.errors import NotSupported
from modules.executors import wire
from modules.executors.names import Device

logger = logging.getLogger(__name__)

VERSION = "2.60.0"
LOCAL = "local"
"""The address that stands for a cluster of this machine alone, which ends with the program."""

PLACED_SECONDS = 30
"""After which it is said that Ray has not found a place for a worker yet."""

PROGRAM = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def connect(address: str) -> Any:
    """Returns the package, connected to a cluster; an existing one is used as it is. Raises NotSupported without it."""
    try:
        import ray
    except ImportError as e:
        raise NotSupported(f"--ray-address needs Ray, which is not installed: pip install ray=={VERSION}") from e
    if not ray.is_initialized():
        # Ray's processes stand back behind all others of a machine, by default; these are what it is there for.
        os.environ.setdefault("RAY_worker_niceness", "0")
        where = {"include_dashboard": False} if address == LOCAL else {"address": address}
        ray.init(**where, ignore_reinit_error=True, configure_logging=False)
    return ray


def count_gpus(address: str) -> int:
    """Returns how many GPUs a cluster has."""
    return int(connect(address).cluster_resources().get("GPU", 0))


def in_short(error: Exception) -> str:
    """Returns what Ray says of an error in one line, without what it guesses."""
    return " ".join(str(error).partition("Some common causes")[0].split())


class ActorLink:
    """The link of a worker that is an actor: its messages wait until they are fetched."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[bytes] = SimpleQueue()
        self.outbox: SimpleQueue[bytes] = SimpleQueue()

    def send(self, message: wire.Message) -> None:
        """Sends a message."""
        self.outbox.put(wire.packed(message))

    def receive(self) -> wire.Message:
        """Waits for the next message."""
        return wire.unpacked(self.inbox.get())

    def close(self) -> None:
        """Nothing to close: the actor is ended by Ray."""


class Actor:
    """What runs in a process of Ray. Messages are bytes, so that no tensor is shared by two processes."""

    def __init__(self, flags: Sequence[str]):
        sys.argv = ["launch.py", *flags]
        self._link = ActorLink()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            importlib.import_module(wire.ENTRY).serve(self._link)
        except BaseException:  # told to the server, which decides
            self._link.send(("lost", traceback.format_exc()))

    def pid(self) -> int:
        """Returns the number of the process."""
        return os.getpid()

    def put(self, message: bytes) -> None:
        """Takes in a message."""
        self._link.inbox.put(message)

    def get(self) -> bytes:
        """Waits for what the worker says next."""
        return self._link.outbox.get()


class RayWorker:
    """A worker that Ray has placed. Waiting for a place is Ray's."""

    def __init__(self, name: str, device: Device, flags: Sequence[str], threads: int, address: str):
        self.name = name
        self._ray = ray = connect(address)
        variables = {"PYTHONPATH": os.pathsep.join([PROGRAM, *filter(None, sys.path)]), "COMMANDLINE_ARGS": ""}
        variables |= {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"), "PYTHONUNBUFFERED": "1"}
        variables["MKL_CBWR"] = os.environ.get("MKL_CBWR", launch_process.STRICT_SUMS)
        variables["OMP_NUM_THREADS"] = launch_process.chosen_threads() or str(threads)
        on_gpu = device.number is not None
        own_flags = ["--device-id", "0"] if on_gpu else device.flags()  # Ray shows an actor no GPU but its own
        actor_class = ray.remote(concurrency_groups={"in": 1, "out": 1})(Actor).options(
            num_cpus=1,
            num_gpus=1 if on_gpu else 0,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": variables},
        )
        self._actor = actor_class.remote([*flags, *own_flags])
        _, unplaced = ray.wait([self._actor.pid.remote()], timeout=PLACED_SECONDS)
        if unplaced:
            logger.warning("Worker %s waits until the cluster has a CPU%s for it", name, " and a GPU" * on_gpu)

    def send(self, message: wire.Message) -> None:
        """Sends a message; whether it arrives is seen by what comes back."""
        self._actor.put.options(concurrency_group="in").remote(wire.packed(message))

    def receive(self) -> wire.Message:
        """Waits for the next message. Raises WorkerLost."""
        try:
            message = wire.unpacked(self._ray.get(self._actor.get.options(concurrency_group="out").remote()))
        except self._ray.exceptions.RayError as e:
            raise wire.WorkerLost(f"Worker {self.name} is lost: {in_short(e)}") from e
        if message[0] == "lost":
            raise wire.WorkerLost(f"Worker {self.name} ended; its last words: {message[1]}")
        return message

    def pid(self) -> int:
        """Returns the number of the worker's process."""
        return self._ray.get(self._actor.pid.remote())

    def close(self) -> None:
        """Ends the actor, whatever it is doing."""
        self._ray.kill(self._actor)
