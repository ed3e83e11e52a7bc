"""What a folder of thousands of networks costs: the start, the list, the page of cards.

    python benchmarks/network_listing.py [--files 6000] [--starts 3]

Starts alternate between an empty folder and a full one, so that both see the same machine; the first start with the
full folder, which reads all headers, is told apart. Then the list is made in this process and files that are opened are
counted. At last the page is opened in a browser, if playwright and a Chromium are there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import page_load  # noqa: E402

TENSORS = 264
TAGS = 300
TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def write_networks(folder: Path, count: int) -> None:
    """Writes files with headers like those of kohya's scripts, and a hole of 10 MB for their weights."""
    tags = {f"tag number {n}": n % 97 + 1 for n in range(TAGS)}
    weights = {
        f"lora_unet_down_blocks_{n}_attentions_0_transformer_blocks_0_attn1_to_k.{part}.weight": {
            "dtype": "F16", "shape": [32, 320], "data_offsets": [n * 20480, n * 20480 + 20480]
        }
        for n in range(TENSORS)
        for part in ("lora_down", "lora_up")
    }  # fmt: skip
    for number in range(count):
        metadata = {
            "ss_output_name": f"alias {number}",
            "ss_base_model_version": "sd_v1",
            "sshs_model_hash": f"{number:064x}",
            "ss_tag_frequency": json.dumps({"10_a": tags}),
        }
        header = json.dumps({"__metadata__": metadata} | weights).encode()
        path = folder / f"group {number % 20}" / f"network {number}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(10_000_000)


@contextlib.contextmanager
def program(data_dir: str, folder: Path) -> Iterator[tuple[str, float]]:
    """Runs the program; gives its address and the seconds until it served the page."""
    port = page_load.free_port()
    command = [sys.executable, "launch.py", *page_load.FLAGS, "--data-dir", data_dir, "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--lora-dir", str(folder)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=300) as answer:
                answer.read()
                break
            time.sleep(0.02)
        yield url, time.perf_counter() - started
    finally:
        process.kill()
        process.wait()


def measure_starts(folders: dict[str, Path], data_dirs: dict[str, str], starts: int) -> None:
    """Prints the seconds of starts, with the two folders in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in folders}
    for _ in range(starts + 1):
        for name, folder in folders.items():
            with program(data_dirs[name], folder) as (_url, needed):
                seconds[name].append(needed)
    for name, (first, *others) in seconds.items():
        print(f"start, {name}: first {first:.2f} s, then median {statistics.median(others):.2f} s")


def measure_list(folder: Path, data_dir: str) -> None:
    """Prints the seconds of processor time for listing in this process, and how many files were opened for it."""
    flags = [*page_load.FLAGS, "--skip-load-model-at-start"]
    sys.argv = ["webui.py", "--data-dir", data_dir, "--lora-dir", str(folder), *flags]
    sys.path.insert(0, str(ROOT))
    from modules import initialize, script_callbacks, ui_extra_networks

    initialize.initialize()
    script_callbacks.before_ui_callback()
    page = next(page for page in ui_extra_networks.extra_pages if page.name == "lora")
    opened: list[str] = []

    def note(event: str, arguments: tuple) -> None:
        """Notes files of the folder that are opened."""
        if event == "open" and str(arguments[0]).startswith(str(folder)) and str(arguments[0]).endswith(".safetensors"):
            opened.append(arguments[0])

    sys.addaudithook(note)
    started = time.process_time()
    page.refresh()
    listed = time.process_time()
    html = page.create_html("txt2img")
    made = time.process_time()
    print(f"list of {len(page.items)}: {listed - started:.2f} s")
    print(f"its cards, {len(html) / 1e6:.1f} MB: {made - listed:.2f} s")
    print(f"files opened for both: {len(opened)}")


def measure_page(folder: Path, data_dir: str) -> None:
    """Prints the seconds that a browser needs with the page."""
    from playwright.sync_api import sync_playwright

    with program(data_dir, folder) as (url, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=page_load.find_chromium(), args=page_load.BROWSER_ARGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.locator(page_load.PROMPT).fill("a", timeout=120_000)
        ready = time.perf_counter() - started
        page.wait_for_function("document.querySelector('#txt2img_lora_cards > .card')", timeout=120_000)
        print(
            f"page: prompt takes input after {ready:.2f} s, cards are there after {time.perf_counter() - started:.2f} s"
        )
        page.wait_for_timeout(2000)
        for name, script in {
            "tab opens": "document.getElementById('txt2img_lora-button').click()",
            "search": "const field = document.getElementById('txt2img_lora_extra_search');"
            "field.value = 'network 59'; field.dispatchEvent(new Event('input'))",
            "search ends": "field.value = ''; field.dispatchEvent(new Event('input'))",
            "sort by name": "document.getElementById('txt2img_lora_extra_sort_name').click()",
            "click on a card": "document.querySelector('#txt2img_lora_cards > .card').click()",
        }.items():
            started = time.perf_counter()
            page.evaluate(f"{{ {script.replace('const field', 'window.field')} }}")
            page.evaluate(TWO_FRAMES)
            print(f"{name}: {time.perf_counter() - started:.2f} s")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=6000)
    parser.add_argument("--starts", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serena-bench-") as root:
        names = ("empty folder", f"{arguments.files} files")
        folders = {name: Path(root) / name for name in names}
        data_dirs = {name: str(Path(root) / "data" / name) for name in names}
        for folder in folders.values():
            folder.mkdir()
        write_networks(folders[names[1]], arguments.files)
        measure_starts(folders, data_dirs, arguments.starts)
        with contextlib.suppress(ImportError):
            measure_page(folders[names[1]], data_dirs[names[1]])
        measure_list(folders[names[1]], data_dirs[names[1]])


if __name__ == "__main__":
    main()
