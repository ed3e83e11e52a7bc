"""Seconds from opening the page in a fresh browser until the prompt takes input: the median of cold loads.

    python benchmarks/page_load.py [--loads 5] [--url http://127.0.0.1:7860]

Starts the program on a fresh data directory, unless --url names one that runs. Each load has a browser context of its
own, so nothing is cached. Needs playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--skip-prepare-environment", "--use-cpu", "all", "--no-half", "--precision", "full"]
BROWSER_ARGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PROMPT = "#txt2img_prompt textarea"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def start_program() -> tuple[subprocess.Popen, str]:
    """Starts a program that serves the page, and returns it with its address."""
    port = str(free_port())
    data_dir = tempfile.mkdtemp(prefix="serena-bench-")
    command = [sys.executable, "launch.py", *FLAGS, "--data-dir", data_dir, "--port", port]
    program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf8")
    assert program.stdout is not None
    while not (line := program.stdout.readline()).startswith("Running on local URL"):
        if not line:
            raise SystemExit("the program did not start")
    return program, f"http://127.0.0.1:{port}"


def load(browser: Browser, url: str) -> dict[str, float]:
    """Measures one cold load: seconds until the prompt takes input and until all scripts have run, requests, bytes."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    hosts: list[str] = []
    page.on("request", lambda request: hosts.append(urlsplit(request.url).netloc))
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(PROMPT).fill("a", timeout=120_000)
    ready = time.perf_counter() - started
    page.wait_for_function("window.executedOnLoaded === true", timeout=120_000)
    complete = time.perf_counter() - started
    size = page.evaluate("performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize || 0), 0)")
    context.close()
    foreign = {host for host in hosts if host and host != urlsplit(url).netloc}
    if foreign:
        print("asked other hosts:", ", ".join(sorted(foreign)))
    return {"ready": ready, "complete": complete, "requests": len(hosts), "kilobytes": size / 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--url")
    arguments = parser.parse_args()
    program, url = (None, arguments.url) if arguments.url else start_program()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=BROWSER_ARGS)
            loads = [load(browser, url) for _ in range(arguments.loads)]
            browser.close()
    finally:
        if program is not None:
            program.kill()
            program.wait()
    for number, result in enumerate(loads, 1):
        print(f"load {number}: " + "  ".join(f"{name} {value:.2f}" for name, value in result.items()))
    for name in ("ready", "complete"):
        print(f"median {name}: {statistics.median(result[name] for result in loads):.2f} s")


if __name__ == "__main__":
    main()
