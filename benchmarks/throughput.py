"""How many images come out of the server, and what stands between them and the device: the queue's cost, parallel
clients, listeners to events, memory without a model.

    python benchmarks/throughput.py [--row NAME ...] [--rounds 5]

Each row is a function of the table ROWS: it prints its line, and is a ratio of two measures taken in turn in one run
wherever there is something to compare with. Clients are processes of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.common import FLAGS, own_server, served  # noqa: E402

START_SECONDS = 240
SMALL = {"prompt": "red apple", "width": 128, "height": 128, "steps": 4, "sampler_name": "Euler"}

CLIENTS = """
import asyncio, json, sys

async def ask(port, bodies):
    while bodies:
        content = json.dumps(bodies.pop()).encode()
        head = f"POST /sdapi/v1/txt2img HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n"
        head += f"Content-Type: application/json\\r\\nContent-Length: {len(content)}\\r\\n\\r\\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + content)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
        writer.close()

async def main(port, at_once, bodies):
    await asyncio.gather(*(ask(port, bodies) for _ in range(at_once)))

for line in sys.stdin:
    asyncio.run(main(*json.loads(line)))
    print("done", flush=True)
"""
"""A process that sends requests, so many at once, each time it is told to."""

LISTENERS = """
import asyncio, json, sys

async def listen(port, all_welcome):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /serena/v1/events?previews=false HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
    await reader.readuntil(b"welcome")
    all_welcome.release()
    while await reader.read(65536):
        pass

async def main(port, count):
    welcome = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(listen(port, welcome)) for _ in range(count)]
    for _ in range(count):
        await welcome.acquire()
    print("done", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for task in tasks:
        task.cancel()

asyncio.run(main(*json.loads(sys.stdin.readline())))
"""
"""A process that listens to events over so many connections, until it is told to go."""


class Helper:
    """A process that is told things, and says when it is done."""

    def __init__(self, script: str):
        self.process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Helper:
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        self.process.wait()

    def tell(self, *values: Any) -> None:
        """Sends values, and waits until it says that it is done."""
        self.process.stdin.write(json.dumps(values) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", "a client failed"


def post(port: int, path: str, body: dict) -> None:
    """Sends a request and waits for its answer."""
    content = json.dumps(body).encode()
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, content, {"Content-Type": "application/json"})) as answer:
        answer.read()


def seconds_of(work: Callable[[], Any]) -> float:
    """Returns how long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


async def carry_out_unwritten(request: Any, kind: str, body: Any) -> Any:
    """Does what `waiting.carry_out` does with a job that is in the queue and nowhere else."""
    from starlette.concurrency import run_in_threadpool

    from modules import call_queue
    from modules.api import job_kinds, waiting

    def submit() -> Any:
        plan = job_kinds.KINDS[kind].prepare(body)
        return plan, call_queue.submit(plan.name, plan.work, plan.task_id, plan.request)

    plan, job = await run_in_threadpool(submit)
    result = await waiting.until_over(job, request)
    return await run_in_threadpool(lambda: plan.answer(result, plan.images(result)))


def queue_cost(rounds: int) -> str:
    """What it costs a request that its job is written down: one step, 128x128, over HTTP, PNG and infotext in."""
    with own_server() as port:
        from modules.api import waiting

        ways = {"written": waiting.carry_out, "unwritten": carry_out_unwritten}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(-4, 20 * rounds):
            for name in sorted(ways, reverse=bool(number % 2)):
                waiting.carry_out = ways[name]
                body = SMALL | {"steps": 1, "prompt": f"red apple {number} {name}", "seed": number + 9}
                worked = time.process_time()
                taken = seconds_of(partial(post, port, "/sdapi/v1/txt2img", body))
                if number >= 0:
                    found[name].append((1000 * taken, 1000 * (time.process_time() - worked)))
    taken, worked = (
        [(written[n], unwritten[n]) for written, unwritten in zip(*found.values(), strict=True)] for n in (0, 1)
    )
    more, work = (statistics.median(a - b for a, b in pairs) for pairs in (taken, worked))
    medians = [statistics.median(values) for values in zip(*taken, strict=True)]
    return f"{more:+.1f} ms a request ({medians[0]:.1f} to {medians[1]:.1f} ms), {work:+.1f} ms of it of the processor"


def parallel_clients(rounds: int) -> str:
    """Images a minute for 8 clients over HTTP, against the same jobs one after the other without HTTP."""
    jobs = 16
    with own_server() as port, Helper(CLIENTS) as clients:
        from modules import call_queue
        from modules.api import generate, models

        def direct(first: int) -> None:
            for number in range(jobs):
                request = models.StableDiffusionTxt2ImgProcessingAPI(**SMALL, seed=first + number)
                plan = generate.prepare_txt2img(request)
                with call_queue.gpu_job(plan.name):
                    result = plan.work()
                plan.answer(result, plan.images(result))

        def over_http(first: int) -> None:
            clients.tell(port, 8, [SMALL | {"seed": first + number} for number in range(jobs)])

        ways = {"http": over_http, "direct": direct}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(-1, rounds):
            for name in sorted(ways, reverse=bool(number % 2)):
                taken = seconds_of(partial(ways[name], 1000 * (number + 2)))
                if number >= 0:
                    found[name].append(60 * jobs / taken)
    http, plain = (statistics.median(found[name]) for name in ("http", "direct"))
    ratio = statistics.median(a / b for a, b in zip(found["http"], found["direct"], strict=True))
    return f"ratio {ratio:.2f} ({http:.0f} to {plain:.0f} images a minute)"


def listeners(rounds: int) -> str:
    """The time of a job of 40 steps while 100 listen to its events, against one listener; and its processor time."""
    body = SMALL | {"steps": 40}
    with own_server() as port:
        taken: dict[int, list[float]] = {1: [], 100: []}
        worked: dict[int, list[float]] = {1: [], 100: []}
        for number in range(-1, 2 * rounds):
            for count in sorted(taken, reverse=bool(number % 2)):
                with Helper(LISTENERS) as helper:
                    helper.tell(port, count)
                    before = time.process_time()
                    seconds = seconds_of(partial(post, port, "/sdapi/v1/txt2img", body | {"seed": number + 9}))
                    work = time.process_time() - before
                if number >= 0:
                    taken[count].append(seconds)
                    worked[count].append(work)
    said = []
    for name, found in (("", taken), (" of the processor", worked)):
        ratio = statistics.median(a / b for a, b in zip(found[100], found[1], strict=True))
        medians = [statistics.median(found[count]) for count in (100, 1)]
        said.append(f"ratio {ratio:.3f} ({medians[0]:.2f} to {medians[1]:.2f} s{name})")
    return ", ".join(said)


def until_side_by_side(port: int, clients: Helper, count: int) -> None:
    """Sends jobs until so many of them run at once: all workers are there."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for number in range(2 * count):
                post(port, "/serena/v1/jobs", {"kind": "txt2img", "request": SMALL | {"steps": 20, "seed": number}})
            most, running = 0, -1
            while running:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/serena/v1/jobs?state=running") as answer:
                    running = json.loads(answer.read())["total"]
                most = max(most, running)
                time.sleep(0.02)
            if most == count:
                return clients.tell(port, 4, [SMALL | {"seed": number} for number in range(8)])
        time.sleep(0.5)
    raise SystemExit("not all workers came")


def processor_seconds(program: psutil.Process) -> float:
    """Returns the processor time that a program and those it has started have had so far."""
    total = 0.0
    for process in (program, *program.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def workers(rounds: int, batches: int = 1) -> str:
    """Images a minute of two workers on the CPU, one thread each, as processes and with Ray where that is installed,
    against one program with one thread: 12 steps, 4 clients. Moreover the processor time of an image.
    """
    kinds = {"one": (1, []), "local": (2, ["--devices", "cpu*2"])}
    if importlib.util.find_spec("ray") is not None:
        kinds["ray"] = (2, ["--devices", "cpu*2", "--ray-address", "local"])
    images = 16
    found: dict[str, list[float]] = {name: [] for name in kinds}
    worked: dict[str, list[float]] = {name: [] for name in kinds}
    with contextlib.ExitStack() as stack:
        clients = stack.enter_context(Helper(CLIENTS))
        ports, programs = {}, {}
        for name, (count, flags) in kinds.items():
            ports[name], process = stack.enter_context(served(ROOT, [*FLAGS, *flags]))
            programs[name] = psutil.Process(process.pid)
            until_side_by_side(ports[name], clients, count)
        at_once = 1 if batches > 1 else 4
        for number in range(rounds):
            for name in sorted(ports, reverse=bool(number % 2)):
                body = SMALL | {"steps": 12, "n_iter": batches}
                bodies = [body | {"seed": 100 * number + place} for place in range(images // batches)]
                before = processor_seconds(programs[name])
                found[name].append(60 * images / seconds_of(partial(clients.tell, ports[name], at_once, bodies)))
                worked[name].append((processor_seconds(programs[name]) - before) / images)

    def ratio(values: dict[str, list[float]], name: str, other: str) -> str:
        return f"{statistics.median(a / b for a, b in zip(values[name], values[other], strict=True)):.2f}"

    said = []
    for name in found:
        speed, work = statistics.median(found[name]), statistics.median(worked[name])
        against = "" if name == "one" else f", ratio {ratio(found, name, 'one')}"
        said.append(f"{name} {speed:.0f} images a minute{against}, {work:.2f} s of the processor each")
    if "ray" in found:
        said.append(f"ray to local {ratio(found, 'ray', 'local')}, of the processor {ratio(worked, 'ray', 'local')}")
    return "; ".join(said)


def shared_jobs(rounds: int) -> str:
    """The same for one client whose jobs have 8 batches, which two workers share."""
    return workers(rounds, batches=8)


def many_jobs(rounds: int) -> str:
    """Milliseconds over HTTP while 10,000 jobs wait and 10,000 are over: a page, searches, a job, cancelling."""
    count = 10_000
    with own_server() as port:
        from modules import call_queue, jobs
        from modules.job.journal import Asked
        from modules.job.plan import Plan
        from modules.job.row import Row

        journal = jobs.journal()
        words = ("apple", "pear", "plum", "fig", "melon", "cherry", "quince")
        said = "\nSteps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: {0}, Size: 512x512, Model hash: 012345, Model: m{1}"

        def text(number: int) -> str:
            prompt = ", ".join(f"{words[(number + n) % 7]} {number * n}" for n in range(30))
            return prompt + said.format(number, number % 5)

        with call_queue.queue_lock:
            for number in range(count):
                row = Row(f"task(over-{number})", "txt2img", text=text(number), submitted=number, state="done")
                journal.store.add(row, None)
                plan = Plan("none", lambda: None, lambda *_: None, task_id=f"task(waits-{number})")
                journal.submit(plan, Asked("txt2img", {}, text(number)))
            asked = {
                "queue": ("GET", "?state=queued"),
                "history": ("GET", "?state=done&offset=5000"),
                "search": ("GET", "?state=done&text=quince+9999"),
                "all found": ("GET", "?state=done&text=sampler"),
                "job": ("GET", "/task(waits-5000)"),
                "cancel": ("DELETE", "/task(waits-{0})"),
            }
            found: dict[str, list[float]] = {name: [] for name in asked}
            for number in range(4 * rounds):
                for name, (method, place) in asked.items():
                    url = f"http://127.0.0.1:{port}/serena/v1/jobs{place.format(9000 - number)}"
                    request = urllib.request.Request(url, method=method)
                    found[name].append(1000 * seconds_of(lambda r=request: urllib.request.urlopen(r).read()))
    return ", ".join(f"{name} {statistics.median(values):.0f}" for name, values in found.items())


def server_memory(rounds: int) -> str:
    """Main memory of the server, page and API, before any model is loaded: resident, and what is its own of that."""
    del rounds
    with served(ROOT, [*FLAGS[1:], "--api", "--skip-load-model-at-start"]) as (port, process):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=START_SECONDS).read()
                break
            time.sleep(0.2)
        found = psutil.Process(process.pid)
        programs = [found, *found.children(recursive=True)]
        used = max((program.memory_full_info() for program in programs), key=lambda memory: memory.rss)
    return f"{used.rss / 1e6:.0f} MB resident, {used.uss / 1e6:.0f} MB its own"


ROWS: dict[str, Callable[[int], str]] = {
    "queue": queue_cost,
    "clients": parallel_clients,
    "listeners": listeners,
    "many": many_jobs,
    "memory": server_memory,
    "workers": workers,
    "shared": shared_jobs,
}
"""Name -> measures something, so many rounds of it, and returns what is said of it."""


def main() -> None:
    """Measures each row in a process of its own and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if len(args.row) > 1:
        for row in args.row:
            command = [sys.executable, __file__, "--row", row, "--rounds", str(args.rounds)]
            subprocess.run(command, check=False, env=os.environ)
        return
    (row,) = args.row
    print(f"{row:12} {(ROWS[row].__doc__ or '').splitlines()[0]}\n{'':12} {ROWS[row](args.rounds)}", flush=True)
    os._exit(0)  # the program's threads have nothing to end


if __name__ == "__main__":
    main()
