"""How fast the server answers while 200 requests wait for the device: latency of progress, interrupt, ping and of the
page's progress.

    python benchmarks/queue_waiting.py [--waiting 200] [--rounds 40] [--tree DIRECTORY ...]

Each tree (this one by default) serves from a process of its own, with the embedded model, and ends with the benchmark.
The requests come in over connections of their own. A route that does not answer within 10 seconds counts as 10.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.common import served  # noqa: E402

START_SECONDS = 120
TIMEOUT = 10.0
SETTLE_SECONDS = 2.0
MOST_SECONDS = 60.0

JOB = {"prompt": "red apple", "width": 128, "height": 128, "steps": 20, "save_images": False}
PROBES = {
    "GET /sdapi/v1/progress": None,
    "POST /sdapi/v1/interrupt": {},
    "GET /internal/ping": None,
    "POST /internal/progress": {"id_task": "task(none)"},
}


async def request(port: int, line: str, body: dict | None = None) -> bytes:
    """Sends one request over a new connection and returns the whole answer."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()


async def latency(port: int, line: str) -> float:
    """Returns the milliseconds a route takes to answer."""
    started = time.perf_counter()
    try:
        answer = await asyncio.wait_for(request(port, line, PROBES[line]), TIMEOUT)
    except TimeoutError:
        return 1000 * TIMEOUT
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    return 1000 * (time.perf_counter() - started)


async def until_served(port: int) -> None:
    """Waits for the program, and makes one image so that the model is loaded."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            answer = await asyncio.wait_for(request(port, "POST /sdapi/v1/txt2img", JOB | {"steps": 1}), START_SECONDS)
            assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
            return
        await asyncio.sleep(0.1)
    raise SystemExit("the program does not serve")


async def measure(port: int, waiting: int, rounds: int) -> dict[str, list[float]]:
    """Returns the latencies of each route while the requests wait."""
    await until_served(port)
    jobs = [asyncio.create_task(request(port, "POST /sdapi/v1/txt2img", JOB | {"seed": n})) for n in range(waiting)]
    await asyncio.sleep(SETTLE_SECONDS)
    found: dict[str, list[float]] = {line: [] for line in PROBES}
    deadline = time.monotonic() + MOST_SECONDS
    for _ in range(rounds):
        for line, values in found.items():
            values.append(await latency(port, line))
            await asyncio.sleep(0.02)
        if time.monotonic() > deadline:
            break
    still = sum(not job.done() for job in jobs)
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    print(f"  {still} of {waiting} requests still waited at the end")
    return found


def main() -> None:
    """Measures each tree and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--tree", type=Path, nargs="*", default=[ROOT])
    args = parser.parse_args()
    for tree in args.tree:
        print(f"{tree.name}: milliseconds while {args.waiting} requests wait")
        with served(tree) as (port, _):
            found = asyncio.run(measure(port, args.waiting, args.rounds))
        print(f"  {'route':28} {'median':>8} {'p95':>8} {'max':>8}  of")
        for line, values in found.items():
            p95 = sorted(values)[int(0.95 * (len(values) - 1))]
            print(f"  {line:28} {statistics.median(values):8.1f} {p95:8.1f} {max(values):8.1f}  {len(values)}")


if __name__ == "__main__":
    main()
