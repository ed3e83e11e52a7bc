"""How long a user of the page waits for an image, from the click on Generate until it is seen, against a request of the
API on the idle machine: 20 steps at 128x128, the browser on the same cores. And what previews and progress are of it.

    python benchmarks/click_to_picture.py [--rounds 11] [--tree DIRECTORY]

The API is asked before there is a browser and after it has gone. In between the page makes images as it is, and with
neither progress nor previews, in turn. Printed are medians. Needs playwright and a Chromium.
"""

import argparse
import json
import statistics
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.page_load import ALIVE, BROWSER_ARGS, PROMPT, find_chromium, start_program  # noqa: E402

STEPS, SIZE = 20, 128

CLICK = """() => new Promise((resolve) => {
    const shown = () => document.querySelector("#txt2img_gallery .preview .media-button img");
    const before = shown()?.src;
    const started = performance.now();
    new MutationObserver((_, observer) => {
        const image = shown();
        if (!image || image.src === before) return;
        observer.disconnect();
        image.decode().then(() => requestAnimationFrame(() => resolve((performance.now() - started) / 1000)));
    }).observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ["src"]});
    document.getElementById("txt2img_generate").click();
})"""
IS_OVER = "() => document.getElementById('txt2img_interrupt').style.display !== 'block'"
WATCH = "() => { window.requestProgress = window.watchedProgress; }"
LEAVE_ALONE = "() => { window.requestProgress = (id, container, gallery, atEnd) => atEnd(); }"


def ask_api(url: str, rounds: int) -> list[float]:
    """Returns the seconds that requests take, after one that warms up."""
    seconds = []
    for seed in range(-1, rounds):
        body = {"prompt": "red apple", "width": SIZE, "height": SIZE, "steps": STEPS, "seed": 1000 + seed}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/sdapi/v1/txt2img", json.dumps(body).encode(), headers)
        started = time.perf_counter()
        with urllib.request.urlopen(request) as answer:
            answer.read()
        if seed >= 0:
            seconds.append(time.perf_counter() - started)
    return seconds


def number(page: Page, elem_id: str, value: int) -> None:
    """Types into a number field."""
    field = page.locator(f"#{elem_id} input[type=number]")
    field.fill(str(value))
    field.blur()


def click(page: Page, way: str) -> float:
    """Returns the seconds until a click has its image."""
    page.evaluate(way)
    seconds = page.evaluate(CLICK)
    page.wait_for_function(IS_OVER)
    page.wait_for_timeout(500)  # as a user looks at it; what the page has left to do is not the next image's
    return seconds


def use_page(url: str, rounds: int) -> tuple[list[float], list[float]]:
    """Returns the seconds of clicks with and without previews and progress."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=BROWSER_ARGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.wait_for_function(ALIVE)
        page.locator(PROMPT).fill("red apple")
        for name, value in {"steps": STEPS, "width": SIZE, "height": SIZE}.items():
            number(page, f"txt2img_{name}", value)
        page.wait_for_timeout(5000)
        page.evaluate("() => { window.watchedProgress = window.requestProgress; }")
        times: dict[str, list[float]] = {WATCH: [], LEAVE_ALONE: []}
        for turn in range(-1, rounds):
            for way in (WATCH, LEAVE_ALONE) if turn % 2 else (LEAVE_ALONE, WATCH):
                seconds = click(page, way)
                if turn >= 0:
                    times[way].append(seconds)
        browser.close()
    return times[WATCH], times[LEAVE_ALONE]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--tree", type=Path, default=ROOT)
    arguments = parser.parse_args()
    program, url = start_program(arguments.tree, "--api")
    try:
        before = ask_api(url, arguments.rounds)
        watched, alone = use_page(url, arguments.rounds)
        after = ask_api(url, arguments.rounds)
    finally:
        program.kill()
        program.wait()
    api, page, plain = map(statistics.median, (before + after, watched, alone))
    ends = f"before the browser {statistics.median(before):.2f} s, after it {statistics.median(after):.2f} s"
    print(f"API, {STEPS} steps {SIZE}x{SIZE}: {api:.2f} s, {ends}")
    print(f"click to picture: {page:.2f} s, against the API {page / api:.2f}")
    print(f"previews and progress: {page - plain:+.2f} s of it, {100 * (page / plain - 1):+.0f} %")


if __name__ == "__main__":
    main()
