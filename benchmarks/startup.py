"""Seconds from starting the program until it answers /internal/ping, serves the page, and has the model loaded.

    python benchmarks/startup.py [--starts 5] [--tree DIRECTORY ...]

Starts each tree (this one by default) in turn, on a data directory that has been started on before, and prints the
medians: seconds, and the processor time of the program up to there, which other programs on the machine move less.
With two trees also the ratio of the last to the first, the median over the pairs.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.common import free_port, temporary_folder  # noqa: E402

FLAGS = ["--use-cpu", "all", "--no-half", "--precision", "full"]
LOADED = " loaded in "

Moment = tuple[float, float]
"""Seconds since the start, and seconds of processor time."""


def answers(url: str, program: subprocess.Popen) -> None:
    """Returns once an address answers."""
    while program.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=300) as answer:
            answer.read()
            return
        time.sleep(0.02)
    raise SystemExit("the program ended before it answered")


def start(tree: Path, data_dir: str) -> dict[str, Moment]:
    """Starts a tree and returns when what was there."""
    port = free_port()
    command = [sys.executable, "launch.py", *FLAGS, "--data-dir", data_dir, "--port", str(port)]
    started = time.perf_counter()
    program = subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf8")
    process = psutil.Process(program.pid)
    found: dict[str, Moment] = {}
    loaded = threading.Event()

    def note(name: str) -> None:
        times = process.cpu_times()
        found[name] = (time.perf_counter() - started, times.user + times.system)

    def listen() -> None:
        assert program.stdout is not None
        for line in program.stdout:
            if LOADED in line:
                note("model")
                loaded.set()

    threading.Thread(target=listen, daemon=True).start()
    try:
        answers(f"http://127.0.0.1:{port}/internal/ping", program)
        note("ping")
        answers(f"http://127.0.0.1:{port}/", program)
        note("page")
        if not loaded.wait(300):
            raise SystemExit("the program loaded no model")
        return found
    finally:
        program.kill()
        program.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--tree", type=Path, action="append")
    arguments = parser.parse_args()
    trees = [tree.resolve() for tree in arguments.tree or [ROOT]]
    data_dirs = {tree: str(temporary_folder()) for tree in trees}
    found: dict[Path, list[dict[str, Moment]]] = {tree: [] for tree in trees}
    for number in range(-1, arguments.starts):
        for tree in trees if number % 2 else trees[::-1]:
            moments = start(tree, data_dirs[tree])
            if number >= 0:  # the first writes what later ones find
                found[tree].append(moments)
    for name in ("ping", "page", "model"):
        for tree in trees:
            taken, worked = (statistics.median(moments[name][n] for moments in found[tree]) for n in (0, 1))
            print(f"{name:6} {taken:5.2f} s, {worked:5.2f} s of the processor  {tree.name if len(trees) > 1 else ''}")
        if len(trees) > 1:
            pairs = list(zip(found[trees[0]], found[trees[-1]], strict=True))
            ratios = [statistics.median(b[name][n] / a[name][n] for a, b in pairs) for n in (0, 1)]
            print(f"{name:6} ratio {ratios[0]:.2f}, of the processor {ratios[1]:.2f}")


if __name__ == "__main__":
    main()
