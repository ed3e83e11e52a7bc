"""Runs all benchmarks, or those that are named, and writes what they print into docs/benchmarks.md with their goals.

    pip install -r benchmarks/requirements.txt
    python benchmarks/all.py [--only against_diffusers memory]

Each has its section there, with the machine, the versions and the day; those that do not run keep theirs. Let nothing
else compute meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Benchmark:
    """A script and what its figures should be.

    title: heading of its section. script: its name, if it is not that of the benchmark. options: what it is called
    with. goals: how a printed line begins -> what is aimed at. plots: images that it writes, beside the page.
    needs_gpu: whether it says nothing without a graphics card.
    """

    title: str
    script: str = ""
    options: tuple[str, ...] = ()
    goals: dict[str, str] = field(default_factory=dict)
    plots: tuple[str, ...] = ()
    needs_gpu: bool = False


BENCHMARKS: dict[str, Benchmark] = {
    "against_diffusers": Benchmark(
        "txt2img against diffusers' pipeline",
        goals={
            "embedded model": "at most 0.90",
            "SD1.5-sized U-Net": "at most 0.90",
            "decoding": "at most 0.90",
        },
    ),
    "openvino": Benchmark(
        "The same with `--cpu-backend openvino`",
        script="against_diffusers",
        options=("--cpu-backend", "openvino", "--only", "embedded", "sd15"),
        goals={
            "embedded model": "at most 0.70",
            "SD1.5-sized U-Net": "at most 0.70",
            "first job after a start": "at most 2 s more",
        },
    ),
    "gpu": Benchmark(
        "On a graphics card",
        goals={"SD1.5-sized": "at most 1.00; beyond its networks at most 2 %", "SDXL-sized": "at most 1.00"},
        needs_gpu=True,
    ),
    "gpu_compiled": Benchmark(
        "On a graphics card with `--torch-compile`",
        script="gpu",
        options=("--torch-compile",),
        goals={"SD1.5-sized": "at most 0.95", "SDXL-sized": "at most 0.95; on an H100 or H200 at most 2.0 s"},
        needs_gpu=True,
    ),
    "sweeps": Benchmark(
        "Size, batch, and number of LoRAs",
        plots=("images/benchmark-size.svg", "images/benchmark-batch.svg", "images/benchmark-loras.svg"),
    ),
    "busy_machine": Benchmark(
        "Beside other programs",
        goals={
            "default, 0 neighbours": "at most 1.02 times the best way's",
            "default, 1 neighbours": "a call at most 1.6 times",
            "default, 2 neighbours": "a call at most 3 times, a job at most 2.5 times",
        },
    ),
    "request_overhead": Benchmark("A request beyond its networks", goals={"request overhead": "at most 10 ms"}),
    "throughput": Benchmark(
        "The queue, clients and workers",
        goals={
            "What it costs": "at most 3 ms",
            "Images a minute over HTTP": "at least 0.95",
            "A job": "at most 1.02",
            "10,000": "within 50 ms",
            "Main memory": "at most 350 MB",
        },
    ),
    "queue_waiting": Benchmark(
        "Answers while 200 requests wait", goals={"GET": "within 50 ms", "POST": "within 50 ms"}
    ),
    "preview_cost": Benchmark("Live previews", goals={"": "at most 2 %"}),
    "startup": Benchmark("Start", goals={"ping": "at most 5 s", "page": "at most 3.0 s", "model": "at most 4.5 s"}),
    "startup_extensions": Benchmark("Start with 30 extensions", goals={"processor time": "at most 1.05"}),
    "page_load": Benchmark(
        "Loading the page", goals={"ready": "under 2 s", "ratio": "at most 1.3", "opening": "at most 0.3 s"}
    ),
    "click_to_picture": Benchmark(
        "From the click to the image",
        goals={"click to picture": "at most 2.0 times the API", "previews and progress": "at most 10 %"},
    ),
    "network_listing": Benchmark(
        "A folder of 6000 networks", goals={"start, 6": "within 1 s of the empty folder", "list": "within 2 s"}
    ),
    "networks": Benchmark(
        "Active networks, switching and changes",
        goals={
            "image with 3 networks": "at most 1.02",
            "switching": "at most 0.5",
            "kept beside": "the changed weights once",
            "50 changes": "within 2 %; as before",
        },
    ),
    "memory": Benchmark(
        "Memory of models and jobs",
        goals={
            "loading": "memory at most 1.15, time at most 1.6",
            "30 switches": "within 2 %",
            "after 300 jobs": "at most 1.4",
            "1024x1024": "at most 2 levels",
            "decoding 2048x2048": "within 4 GiB",
            "encoding 2048x2048": "within 4 GiB",
        },
    ),
    "internals": Benchmark(
        "The original's layout",
        goals={
            "layout": "at most 1 MB",
            "a call": "at most 1.00",
            "a replaced forward": "at most 1.03",
            "an image with a control network": "at most 1.05",
        },
    ),
    "metadata": Benchmark("Other programs' metadata", goals={"hidden text": "at most 30 ms", "": "at most 1 s"}),
}
"""Name of a benchmark, mostly that of its script here -> how its section is made, in the order of the page."""


def processor() -> str:
    """Returns the name of the processor, and how many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or platform.machine()}, {cores} cores"


NO_GPU = "no GPU"


def device() -> str:
    """Returns the name of the GPU, or that there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else NO_GPU


def circumstances() -> str:
    """Returns what a figure depends on: machine, versions, day."""
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "diffusers", "transformers")]
    parts = [processor(), device(), f"Python {platform.python_version()}", *versions]
    return ", ".join([*parts, datetime.date.today().isoformat()])


def lines_of(script: str, benchmark: Benchmark) -> list[str]:
    """Runs a script, shows what it prints, and returns that without progress bars."""
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), *benchmark.options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        lines = []
        for line in process.stdout:
            text = line.rpartition("\r")[2].rstrip()
            if text and not re.search(r"\d+%\|", text) and "Total progress" not in text:
                print(text, flush=True)
                lines.append(text)
    if process.returncode:
        raise SystemExit(f"{script}.py ended with {process.returncode}; the sections before it are written")
    return lines


def section(script: str, benchmark: Benchmark, lines: list[str]) -> str:
    """Returns the Markdown of a benchmark's section."""
    call = " ".join([f"python benchmarks/{script}.py", *benchmark.options])
    rows = []
    for line in lines:
        text = re.sub(r"\s{2,}", " ", line.strip()).replace("|", "\\|")
        goal = next((goal for start, goal in benchmark.goals.items() if text.startswith(start)), "")
        rows.append(f"| {text} | {goal} |")
    plots = "".join(f"\n![{Path(plot).stem.replace('-', ' ')}]({plot})\n" for plot in benchmark.plots)
    table = "\n".join(["| measured | goal |", "| --- | --- |", *rows])
    return f"## {benchmark.title}\n\n`{call}`: {circumstances()}\n\n{table}\n{plots}"


def with_section(page: str, title: str, made: str) -> str:
    """Returns the page with a section in place of the one of that title, or in its place in the order."""
    head, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    order = [benchmark.title for benchmark in BENCHMARKS.values()]
    by_title = {part.partition("\n")[0].removeprefix("## "): part.rstrip() + "\n" for part in sections}
    by_title[title] = made.rstrip() + "\n"
    ordered = sorted(by_title, key=lambda name: order.index(name) if name in order else len(order))
    return "\n".join([head.rstrip() + "\n", *(by_title[name] for name in ordered)])


def main() -> None:
    """Runs the benchmarks and writes each section as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=[*BENCHMARKS])
    for name in parser.parse_args().only:
        benchmark = BENCHMARKS[name]
        script = benchmark.script or name
        if benchmark.needs_gpu and device() == NO_GPU:
            print(f"--- {benchmark.title}: left out, there is no GPU", flush=True)
            continue
        print(f"--- {benchmark.title}", flush=True)
        made = section(script, benchmark, lines_of(script, benchmark))
        PAGE.write_text(with_section(PAGE.read_text("utf8"), benchmark.title, made), "utf8")


if __name__ == "__main__":
    main()
