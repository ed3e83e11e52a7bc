"""How much slower an image gets while other programs compute, by how many threads there are and how they wait.

    python benchmarks/busy_machine.py [--rounds 5] [--neighbours 0 1 2 4] [--threads 1 2]

One process for each way of waiting and each number of threads holds the embedded model; processes that only count keep
the cores busy. "default" is what the program does by itself: its number of threads follows the load. In each round
every process measures one call of the U-Net and one txt2img of 20 steps at 128x128 while no other one computes. Printed
are medians, and in brackets how many times the best way's with the first number of neighbours they are.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SPINS = (300, 2000, 10_000, 50_000, 200_000)
WAITING = {
    "default": {},
    "active": {"OMP_WAIT_POLICY": "ACTIVE"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{f"spin {count}": {"GOMP_SPINCOUNT": str(count)} for count in SPINS},
}
"""What the environment says of waiting threads: a number of turns after which they sleep, or one of OpenMP's words."""

CALLS = 5
"""Of the U-Net, whose median is one measurement."""


SETTLING = 0.2
"""Seconds before a measurement, in which what asked for it, and threads of the one before, go to sleep: they would
count as other programs.
"""


def measure_when_asked() -> None:
    """The measuring process: prints [seconds of a call, seconds of a job] for each line it reads."""
    import torch

    from benchmarks.common import set_up

    set_up()
    from modules import call_queue, initialize, shared

    initialize.initialize()
    unet = shared.sd_model.network("denoiser")
    shared.opts.set("live_previews_enable", False)
    from benchmarks.against_diffusers import our_seconds

    x, text = torch.zeros(2, 4, 16, 16), torch.zeros(2, 77, unet.config.cross_attention_dim)
    timesteps = torch.tensor([500, 500])

    def call_seconds() -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            unet(x, timesteps, encoder_hidden_states=text)
        return time.perf_counter() - started

    our_seconds(128, 20)
    print("ready", flush=True)
    for _ in sys.stdin:
        time.sleep(SETTLING)
        with call_queue.gpu_job("calls"):
            calls = [call_seconds() for _ in range(CALLS)]
        time.sleep(SETTLING)
        print(json.dumps([statistics.median(calls), our_seconds(128, 20)]), flush=True)


@contextlib.contextmanager
def measurer(waiting: str, threads: int) -> Iterator[subprocess.Popen]:
    """Runs a measuring process until the block ends; it is ready when the block begins."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment |= WAITING[waiting]
    if waiting != "default":
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, __file__, "--measure"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            while (line := process.stdout.readline()).strip() != "ready":
                assert line, "the measuring process ended by itself"
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keeps so many processes counting."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def ask(process: subprocess.Popen) -> tuple[float, float]:
    """Returns the seconds of a call of the U-Net and of a job, measured now."""
    process.send_signal(signal.SIGCONT)
    process.stdin.write("\n")
    process.stdin.flush()
    while not (line := process.stdout.readline()).startswith("["):  # progress bars go before
        assert line, "the measuring process ended by itself"
    process.send_signal(signal.SIGSTOP)
    call, job = json.loads(line)
    return call, job


def main() -> None:
    """Measures, and prints a line for each way and each number of neighbours."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--threads", type=int, nargs="+", default=[*range(1, cores + 1)])
    parser.add_argument("--waiting", nargs="+", choices=WAITING, default=[*WAITING])
    args = parser.parse_args()
    if args.measure:
        measure_when_asked()
        return
    ways = [
        (waiting, threads)
        for threads in args.threads
        for waiting in args.waiting
        if threads > 1 or waiting == "passive"
    ]
    found: dict[tuple[str, int, int], list[tuple[float, float]]] = {}
    with contextlib.ExitStack() as running:
        processes = {}
        for way in ways:
            processes[way] = running.enter_context(measurer(*way))
            processes[way].send_signal(signal.SIGSTOP)
        for _ in range(args.rounds):
            for count in args.neighbours:
                with neighbours(count):
                    for way, process in processes.items():
                        found.setdefault((*way, count), []).append(ask(process))
    medians = {
        key: [statistics.median(column) for column in zip(*rounds, strict=True)] for key, rounds in found.items()
    }
    first = [medians[*way, args.neighbours[0]] for way in ways]
    best = [min(column) for column in zip(*first, strict=True)]
    for waiting, threads in ways:
        for count in args.neighbours:
            call, job = (
                f"{1000 * m:.0f} ms ({m / b:.2f})" for m, b in zip(medians[waiting, threads, count], best, strict=True)
            )
            way = "default" if waiting == "default" else f"{threads} threads, {waiting}" if threads > 1 else "1 thread"
            print(f"{way}, {count} neighbours: a call {call}, a job {job}", flush=True)


if __name__ == "__main__":
    main()
