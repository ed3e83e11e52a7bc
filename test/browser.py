"""A real server and a real browser for the tests of the page: fixtures, and the gestures of a user.

The server runs once for all tests, in a process of its own, on the embedded model; the tests of a file share a page. A
test fails if the page logs an error, if a script throws, or if anything is asked of another host.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ("--skip-prepare-environment", "--use-cpu", "all", "--no-half", "--precision", "full", "--api")
BROWSER_ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
START_SECONDS = 180
WAIT_MS = 120_000

EXTENSION = '''
from modules import scripts


class ReadsContext(scripts.Script):
    """Leaves in the infotext what p.runtime_context says about the run."""

    def title(self):
        return "Reads context"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def process(self, p, *args):
        context = p.runtime_context
        same = context.model is p.sd_model and context.opts_snapshot.samples_format == "png"
        p.extra_generation_params["Read context"] = "complete" if same else "wrong"
'''

TRANSLATION = {
    "SD VAE": "xx-vae",
    "Sampling method": "xx-method",
    "Which algorithm to use to produce the image": "xx-algorithm",
    "Prompt\n(Press Ctrl+Enter to generate, Alt+Enter to skip, Esc to interrupt)": "xx-prompt",
    "Apply all selected styles to prompts.": "xx-styles",
    "rtl": True,
}
"""A translation "xx", from right to left, keyed by texts of v1.10.1 that the page words anew, but for one."""


def find_browser() -> str:
    """The Chromium of this machine; skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    pytest.skip("no Chromium on this machine: the page is not tested")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class PageServer:
    """A running program that serves the page; `data_dir` holds its settings and what it saves."""

    def __init__(self, data_dir: Path, *flags: str):
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log_path = data_dir / "server.log"
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("COVERAGE_RUN", None)
        port = str(urlsplit(self.url).port)
        command = [sys.executable, "launch.py", *FLAGS, "--data-dir", str(data_dir), "--port", port, *flags]
        with self.log_path.open("w", encoding="utf8") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf8")

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while "Running on local URL" not in self.log():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def request(self, path: str, body: Any = None) -> Any:
        """Sends JSON to the API and returns what it answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=WAIT_MS / 1000) as answer:
            return json.loads(answer.read())

    def set_options(self, **options: Any) -> None:
        self.request("/sdapi/v1/options", options)

    def saved(self, folder: str) -> list[Path]:
        """Pictures below outputs/<folder>, oldest first."""
        return sorted((self.data_dir / "outputs" / folder).rglob("*.png"), key=lambda path: path.stat().st_mtime_ns)

    def stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        self.process.kill()
        self.process.wait()


class Site:
    """The page in a browser, and what a user does on it."""

    def __init__(self, page: Any, server: PageServer):
        self.page = page
        self.server = server
        self.faults: list[str] = []
        self.is_leaving = False
        page.on("console", lambda message: message.type == "error" and self._add_fault(f"console: {message.text}"))
        page.on("pageerror", lambda error: self._add_fault(f"exception: {error}"))
        page.on("request", self._check_host)
        page.set_default_timeout(WAIT_MS)

    def _add_fault(self, fault: str) -> None:
        if not self.is_leaving:  # Gradio complains of its requests that a reload cuts off
            self.faults.append(fault)

    def _check_host(self, request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.netloc != urlsplit(self.server.url).netloc:
            self.faults.append(f"another host: {request.url}")

    def open(self, query: str = "") -> Site:
        """Loads the page and waits until all of its tabs and the settings are there."""
        self.is_leaving = True
        self.page.goto(f"{self.server.url}/{query}")
        self.is_leaving = False
        self.page.wait_for_function("window.executedOnLoaded && Object.keys(window.opts).length > 0")
        return self

    def barriers(self) -> dict[str, list[str]]:
        """What keeps people from reading or reaching what is shown now: rule of axe-core -> the first elements."""
        if not AXE.exists():
            pytest.skip("axe-core is not installed: npm install")
        if self.page.evaluate("typeof axe") == "undefined":
            self.page.add_script_tag(path=str(AXE))
        result = self.page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa'], resultTypes: ['violations']})")
        return {
            violation["id"]: [" ".join(map(str, node["target"])) for node in violation["nodes"]][:4]
            for violation in result["violations"]
            if violation["impact"] in ("serious", "critical")
        }

    def is_loaded(self) -> bool:
        return self.page.url.startswith(self.server.url)

    def prompt(self, tab: str = "txt2img", negative: bool = False) -> Any:
        return self.page.locator(f"#{tab}_{'neg_' if negative else ''}prompt textarea")

    def show(self, tab: str) -> None:
        self.page.click(f"#tab_{tab}-button")

    def has_tab(self, tab: str) -> bool:
        return self.page.locator(f"#tab_{tab}-button").count() > 0

    def number(self, elem_id: str, value: float) -> None:
        """Types into a number field or that of a slider."""
        field = self.page.locator(f"#{elem_id} input[type=number]")
        field.fill(str(value))
        field.blur()

    def numbers(self, **values: float) -> None:
        for elem_id, value in values.items():
            self.number(elem_id, value)

    def value(self, elem_id: str) -> str:
        """What a number, slider or dropdown shows."""
        return self.page.locator(f"#{elem_id} :is(input[type=number], input[role=combobox])").input_value()

    def choose(self, elem_id: str, text: str) -> None:
        """Picks an entry of a dropdown; of a checkpoint its file name is enough."""
        self.page.locator(f"#{elem_id} input[role=combobox]").click()
        entry = re.compile(rf"^\W*{re.escape(text)}( \[\w+\])?$")
        option = self.page.locator(f"#{elem_id} [role=option]").filter(has_text=entry)
        option.dispatch_event("mousedown")

    def chosen(self, elem_id: str) -> list[str]:
        """The entries chosen in a dropdown that takes several."""
        return self.page.locator(f"#{elem_id} .token > span").all_inner_texts()

    def small(self, tab: str = "txt2img", steps: int = 4, seed: int = 7, size: int = 64) -> None:
        """Settings for a picture that takes a moment."""
        self.numbers(
            **{f"{tab}_steps": steps, f"{tab}_width": size, f"{tab}_height": size, f"{tab}_seed": seed},
        )

    def sources(self, tab: str = "txt2img") -> list[str]:
        """Addresses of the pictures in a gallery."""
        images = self.page.locator(f"#{tab}_gallery .thumbnails > .thumbnail-small img")
        return images.evaluate_all("images => images.map((image) => image.src)")

    def is_running(self, tab: str = "txt2img") -> bool:
        return self.page.locator(f"#{tab}_interrupt").evaluate("button => button.style.display === 'block'")

    def wait_for_result(self, tab: str, before: list[str]) -> Image.Image:
        """Waits until a job has ended and other pictures than before are shown; returns the first."""
        self.page.wait_for_function(
            """([tab, before]) => {
                const first = document.querySelector(`#${tab}_gallery .thumbnails > .thumbnail-small img`);
                const isNew = first && first.src !== before;
                const button = document.getElementById(`${tab}_interrupt`);
                const interrupting = document.getElementById(`${tab}_interrupting`);
                const isOver = [button, interrupting].every((b) => b?.style.display !== "block");
                const error = document.querySelector(`#html_log_${tab} .error`);
                return error || (isNew && isOver);
            }""",
            arg=[tab, before[0] if before else None],
        )
        error = self.page.locator(f"#html_log_{tab} .error")
        assert error.count() == 0, error.inner_text()
        return self.picture(self.sources(tab)[0])

    def generate(self, tab: str = "txt2img") -> Image.Image:
        """Presses Generate and returns the first picture of the result."""
        before = self.sources(tab)
        self.page.click(f"#{tab}_generate")
        return self.wait_for_result(tab, before)

    def infotext(self, tab: str = "txt2img") -> str:
        return self.page.locator(f"#html_info_{tab}").inner_text().strip()

    def bytes(self, address: str) -> bytes:
        with urllib.request.urlopen(address) as answer:
            return answer.read()

    def picture(self, address: str) -> Image.Image:
        image = Image.open(io.BytesIO(self.bytes(address)))
        image.load()
        return image

    def upload(self, elem_id: str, path: Path | str) -> None:
        """Chooses a file in an image or file field."""
        self.page.locator(f"#{elem_id} input[type=file]").first.set_input_files(str(path))

    def transfer_file(self, selector: str, path: Path, kind: str) -> None:
        """Drops a file from the desktop onto an element (kind "drop"), or pastes it there ("paste")."""
        media_type = "image/png" if path.suffix == ".png" else "text/plain"
        self.page.locator(selector).evaluate(
            """(element, [kind, name, type, content]) => {
                const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name, {type}));
                const options = {bubbles: true, cancelable: true, composed: true};
                const event = kind === "drop"
                    ? new DragEvent(kind, {...options, dataTransfer: transfer})
                    : new ClipboardEvent(kind, {...options, clipboardData: transfer});
                element.dispatchEvent(event);
            }""",
            [kind, path.name, media_type, base64.b64encode(path.read_bytes()).decode()],
        )


@pytest.fixture(scope="session")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """The program, started once, with an extension that reads p.runtime_context and brings a translation."""
    data_dir = tmp_path_factory.mktemp("page")
    script = data_dir / "extensions" / "reads-context" / "scripts" / "reads_context.py"
    script.parent.mkdir(parents=True)
    script.write_text(EXTENSION, encoding="utf8")
    translation = data_dir / "extensions" / "reads-context" / "localizations" / "xx.json"
    translation.parent.mkdir()
    translation.write_text(json.dumps(TRANSLATION), encoding="utf8")
    shutil.copy(ROOT / "test" / "golden" / "inputs" / "styles.csv", data_dir / "styles.csv")
    (data_dir / "notification.mp3").write_bytes(b"ID3")
    server = PageServer(data_dir)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def browser_context(page_server: PageServer) -> Iterator[Any]:
    """A browser for the tests of one file, so that its event loop is gone before other tests need one."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: the page is not tested")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(BROWSER_ARGS))
        yield browser.new_context(viewport={"width": 1280, "height": 900})
        browser.close()


@pytest.fixture(scope="module")
def module_site(browser_context: Any, page_server: PageServer) -> Site:
    """The page that the tests of one file share, not loaded yet: loading it takes longer than most of them."""
    return Site(browser_context.new_page(), page_server)


@pytest.fixture
def blank_site(module_site: Site) -> Iterator[Site]:
    """The page, in whatever state it is; what goes wrong on it fails the test."""
    yield module_site
    with contextlib.suppress(urllib.error.URLError):
        module_site.server.request("/sdapi/v1/interrupt", {})
    faults = list(module_site.faults)
    module_site.faults.clear()
    assert not faults, "\n".join(faults)


@pytest.fixture
def site(blank_site: Site) -> Site:
    """The page, loaded, in the state that earlier tests of the file have left it in."""
    if not blank_site.is_loaded():
        blank_site.open()
    blank_site.show("txt2img")
    return blank_site
