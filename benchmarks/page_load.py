"""Seconds from opening the page in a fresh browser until the prompt takes input, and until the page is fully alive: the
settings are in the scripts, values are restored, every control has its events, and what is opened next works at once.
That is measured too: how long a tab takes that is opened at this moment, for the first time, until it is seen.

    python benchmarks/page_load.py [--loads 7] [--url http://127.0.0.1:7860 ...] [--tree DIRECTORY ...]

Starts each tree (this one by default) on a fresh data directory, unless --url names programs that run. Loads go in
turn; each has a browser context of its own, so nothing is cached, and opens another tab. Printed are medians: seconds,
seconds of the processor that the page's own thread took, and the ratio of the two moments. Needs playwright and a
Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, CDPSession, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.common import free_port, temporary_folder  # noqa: E402

FLAGS = ["--skip-prepare-environment", "--use-cpu", "all", "--no-half", "--precision", "full"]
BROWSER_ARGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PROMPT = "#txt2img_prompt textarea"
ALIVE = "window.executedOnLoaded === true && window.executedOnOptions === true"
LOADED = " loaded in "

TABS = {
    "settings": (["tab_settings-button"], "#tab_settings [id^=setting_]"),
    "extensions": (["tab_extensions-button"], "#extensions_apply"),
    "merger": (["tab_modelmerger-button"], "#modelmerger_merge"),
    "img2img": (["tab_img2img-button"], "#img2img_prompt"),
    "inpaint": (["tab_img2img-button", "img2img_inpaint_tab-button"], "#img2maskimg canvas"),
    "extras": (["tab_extras-button"], "#extras_image"),
    "PNG info": (["tab_pnginfo-button"], "#pnginfo_image"),
}
"""Tab -> the buttons that open it, and what has to be seen then."""

OPEN = """async ([buttons, selector]) => {
    const started = performance.now();
    for (const id of buttons) document.getElementById(id).click();
    const frame = () => new Promise(requestAnimationFrame);
    while (![...document.querySelectorAll(selector)].some((element) => element.offsetParent)) await frame();
    await frame();
    return (performance.now() - started) / 1000;
}"""


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def start_program(tree: Path = ROOT, *flags: str) -> tuple[subprocess.Popen, str]:
    """Starts a program that serves the page, and returns it with its address once its model is loaded."""
    port = str(free_port())
    data_dir = str(temporary_folder())
    command = [sys.executable, "launch.py", *FLAGS, *flags, "--data-dir", data_dir, "--port", port]
    program = subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf8")
    assert program.stdout is not None
    while LOADED not in (line := program.stdout.readline()):
        if not line:
            raise SystemExit("the program did not start")
    threading.Thread(target=program.stdout.read, daemon=True).start()  # or it waits for a reader
    return program, f"http://127.0.0.1:{port}"


def worked(session: CDPSession) -> float:
    """Returns the seconds of the processor that the page's own thread has taken."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def load(browser: Browser, url: str, tab: str) -> dict[str, float]:
    """Measures one cold load, and a tab opened at its end."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    hosts: list[str] = []
    page.on("request", lambda request: hosts.append(urlsplit(request.url).netloc))
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(PROMPT).fill("a", timeout=120_000)
    ready, ready_work = time.perf_counter() - started, worked(session)
    page.wait_for_function(ALIVE, timeout=120_000)
    alive, alive_work = time.perf_counter() - started, worked(session)
    size = page.evaluate("performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize || 0), 0)")
    opened = page.evaluate(OPEN, TABS[tab])
    context.close()
    foreign = {host for host in hosts if host and host != urlsplit(url).netloc}
    if foreign:
        print("asked other hosts:", ", ".join(sorted(foreign)))
    return {
        "ready": ready,
        "alive": alive,
        "ratio": alive / ready,
        "ready, processor": ready_work,
        "alive, processor": alive_work,
        "ratio, processor": alive_work / ready_work,
        "requests": len(hosts),
        "kilobytes": size / 1000,
        f"opening {tab}": opened,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=len(TABS))
    parser.add_argument("--url", action="append")
    parser.add_argument("--tree", type=Path, action="append")
    arguments = parser.parse_args()
    started = [] if arguments.url else [start_program(tree) for tree in arguments.tree or [ROOT]]
    urls = arguments.url or [url for _, url in started]
    found: dict[str, list[dict[str, float]]] = {url: [] for url in urls}
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=BROWSER_ARGS)
            for number in range(-1, arguments.loads):
                for url in urls if number % 2 else urls[::-1]:
                    measured = load(browser, url, [*TABS][number % len(TABS)])
                    if number >= 0:  # the first fills what the program keeps
                        found[url].append(measured)
            browser.close()
    finally:
        for program, _ in started:
            program.kill()
            program.wait()
    for place, url in enumerate(urls):
        print((arguments.tree or [url])[place] if started else url)
        for name in dict.fromkeys(name for result in found[url] for name in result):
            values = [result[name] for result in found[url] if name in result]
            print(f"    {name:18} {statistics.median(values):.2f}")


if __name__ == "__main__":
    main()
