"""job: workers as processes of this machine, reached by the standard library's connections."""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from typing import IO

from modules import launch_process
from modules.executors import wire
from modules.executors.names import Device
from modules.paths_internal import script_path

logger = logging.getLogger(__name__)

ADDRESS = "SERENA_WORKER_ADDRESS"
KEY = "SERENA_WORKER_KEY"
"""Environment variables by which a worker finds its server."""

KEPT_LINES = 20
END_SECONDS = 5.0


def count_gpus() -> int:
    """Returns how many CUDA devices this machine has."""
    import torch

    return torch.cuda.device_count()


class ConnectionLink:
    """A link over a connection of the standard library."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._guard = threading.Lock()

    def send(self, message: wire.Message) -> None:
        """Sends a message. Raises WorkerLost."""
        content = wire.packed(message)
        try:
            with self._guard:
                self._connection.send_bytes(content)
        except OSError as e:
            raise wire.WorkerLost(str(e)) from e

    def receive(self) -> wire.Message:
        """Waits for the next message. Raises WorkerLost."""
        try:
            return wire.unpacked(self._connection.recv_bytes())
        except (EOFError, OSError) as e:
            raise wire.WorkerLost(str(e) or "the connection was closed") from e

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


class LocalWorker:
    """A process of the same program on a device of its own. Waits in its constructor until it has reported."""

    def __init__(self, name: str, device: Device, flags: Sequence[str], threads: int | None = None):
        self.name = name
        self._words: deque[str] = deque(maxlen=KEPT_LINES)
        key = secrets.token_bytes(32)
        with Listener(authkey=key) as listener:
            environment = {variable: value for variable, value in os.environ.items() if variable != "COMMANDLINE_ARGS"}
            environment |= {ADDRESS: str(listener.address), KEY: key.hex(), "PYTHONUNBUFFERED": "1"}
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [script_path, os.environ.get("PYTHONPATH")]))
            if threads is not None and device.number is None:
                environment["OMP_NUM_THREADS"] = launch_process.chosen_threads() or str(threads)
            command = [sys.executable, "-m", wire.ENTRY, *flags, *device.flags()]
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf8",
                errors="replace",
            )
            self._reader = threading.Thread(target=self._read, args=[self.process.stdout], daemon=True)
            self._reader.start()
            self._link = ConnectionLink(self._accept(listener))

    def _accept(self, listener: Listener) -> Connection:
        """Waits for the process to connect. Raises WorkerLost if it ends before."""
        accepted: Future[Connection] = Future()

        def wait() -> None:
            """Waits for any connection."""
            try:
                accepted.set_result(listener.accept())
            except Exception as e:
                accepted.set_exception(e)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        while not accepted.done():
            if self.process.poll() is not None:
                with suppress(Exception):  # ends the thread that waits
                    Client(listener.address, authkey=b"none")
                waiting.join()
                raise wire.WorkerLost(self._last_words())
            time.sleep(0.05)
        return accepted.result()

    def _read(self, output: IO[str] | None) -> None:
        """Takes over what the process says into the log, and keeps its last lines."""
        for line in output or ():
            if text := line.rstrip():
                self._words.append(text)
                logger.info("[%s] %s", self.name, text)

    def _last_words(self) -> str:
        """Waits for the end of the process and returns how it ended and what it said last."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        self._reader.join(END_SECONDS)
        status = self.process.returncode
        how = f"was killed by signal {-status}" if status and status < 0 else f"ended with status {status}"
        said = f"; its last words: {' | '.join(self._words)}" if self._words else ""
        return f"Worker {self.name} (process {self.process.pid}) {how}{said}"

    def send(self, message: wire.Message) -> None:
        """Sends a message. Raises WorkerLost."""
        try:
            self._link.send(message)
        except wire.WorkerLost as e:
            raise wire.WorkerLost(self._last_words()) from e

    def receive(self) -> wire.Message:
        """Waits for the next message. Raises WorkerLost."""
        try:
            return self._link.receive()
        except wire.WorkerLost as e:
            raise wire.WorkerLost(self._last_words()) from e

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self._link.close()
