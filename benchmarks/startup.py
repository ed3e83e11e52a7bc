"""Seconds from starting the program until it answers /internal/ping, and until it serves the page.

python benchmarks/startup.py [--starts 5]
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--use-cpu", "all", "--no-half", "--precision", "full"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def answers(url: str, program: subprocess.Popen) -> None:
    """Returns once an address answers."""
    while program.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=300) as answer:
            answer.read()
            return
        time.sleep(0.02)
    raise SystemExit("the program ended before it answered")


def start(data_dir: str) -> tuple[float, float]:
    """Seconds until /internal/ping and / answer."""
    port = free_port()
    command = [sys.executable, "launch.py", *FLAGS, "--data-dir", data_dir, "--port", str(port)]
    started = time.perf_counter()
    program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answers(f"http://127.0.0.1:{port}/internal/ping", program)
        ping = time.perf_counter() - started
        answers(f"http://127.0.0.1:{port}/", program)
        return ping, time.perf_counter() - started
    finally:
        program.kill()
        program.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    data_dir = tempfile.mkdtemp(prefix="serena-bench-")
    starts = [start(data_dir) for _ in range(parser.parse_args().starts)]
    for number, (ping, page) in enumerate(starts, 1):
        print(f"start {number}: ping {ping:.2f} s  page {page:.2f} s")
    print(f"median ping: {statistics.median(ping for ping, _ in starts):.2f} s")
    print(f"median page: {statistics.median(page for _, page in starts):.2f} s")


if __name__ == "__main__":
    main()
