"""What a user does with an extension on the page, in a real browser; each row's steps return faults, as texts.

`browser` of a row is a list of steps, each an object with one key:

    {"click": SELECTOR}, {"fill": [SELECTOR, TEXT]}, {"press": [SELECTOR, KEY]}, {"upload": SELECTOR}: what a user does
    {"generate": TAB}: a small image of the values on the page; waits for it
    {"options": {NAME: VALUE}}: sets settings and loads the page anew
    {"serve": [ADDRESS, HTML]}: stands in for a site of the internet; loads the page anew
    {"wide": PIXELS}: the width of the window, before the page is loaded anew
    {"open": True}: loads the page anew, as at the beginning
    {"run": JAVASCRIPT}: for what no gesture does
    {"is": JAVASCRIPT}: has to become true within some seconds

An exception in a script of the extension is a fault, and so is a dialog that no step asked for with {"say": TEXT}.
"""

import base64
import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.extension_checks import Row, picture_text
from tools.extension_server import Server, folder_of

ARGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
STEP_MS = 60_000
LOAD_MS = 300_000
JOB_MS = 240_000
IS_LOADED = "window.executedOnLoaded && Object.keys(window.opts).length > 0"
IS_DONE = """([tab, before]) => {
    const image = document.querySelector(`#${tab}_gallery .thumbnails > .thumbnail-small img, #${tab}_gallery img`);
    const buttons = [`${tab}_interrupt`, `${tab}_interrupting`].map((id) => document.getElementById(id));
    const isOver = buttons.every((button) => button?.style.display !== "block");
    return document.querySelector(`#html_log_${tab} .error`) || (image && image.src !== before && isOver);
}"""


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Starts a Chromium and ends it. Raises RuntimeError when there is none, or no playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as e:
        raise RuntimeError("playwright is not installed: pip install -r requirements_test.txt") from e
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise RuntimeError("no Chromium on this machine")
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=path, args=list(ARGS))
        try:
            yield program
        finally:
            program.close()


class Visit:
    """A row's steps on a page of their own; `faults` grows."""

    def __init__(self, program: Any, server: Server, row: Row):
        self.server = server
        self.row = row
        self.faults: list[str] = []
        self.answer: str | None = None
        self.page = program.new_page(viewport={"width": 1440, "height": 900})
        self.page.set_default_timeout(STEP_MS)
        self.page.on("pageerror", lambda error: self.note(error.stack or str(error)))
        self.page.on("console", lambda said: self.note(said.text) if said.type == "error" else None)
        self.page.on("dialog", self.answer_dialog)

    def note(self, text: str) -> None:
        """Keeps what the browser complains of when a file of the extension is in it."""
        if f"/{folder_of(self.row)}/" in text:
            self.faults.append(f"script: {text[:300]}")

    def answer_dialog(self, dialog: Any) -> None:
        """Answers a dialog with what the row says, or counts it as a fault."""
        if self.answer is None:
            self.faults.append(f"dialog: {dialog.message[:200]}")
            dialog.dismiss()
        else:
            dialog.accept(self.answer)

    def run(self, steps: list[Row]) -> list[str]:
        """Takes the steps until one fails; returns the faults."""
        for number, step in enumerate([{"open": True}, *steps]):
            ((kind, value),) = step.items()
            try:
                getattr(self, f"do_{kind}")(value)
            except Exception as e:  # playwright's errors, and those of the page
                self.faults.append(f"step {number} {json.dumps(step)[:160]}: {str(e).splitlines()[0][:200]}")
                break
        return self.faults

    def do_open(self, _: Any = None) -> None:
        self.page.goto(self.server.url)
        self.page.wait_for_function(IS_LOADED, timeout=LOAD_MS)

    def do_wide(self, pixels: int) -> None:
        self.page.set_viewport_size({"width": pixels, "height": 900})
        self.do_open()

    def do_options(self, options: Row) -> None:
        status, text = self.server.call("POST", "/sdapi/v1/options", options)
        if status != 200:
            raise RuntimeError(text)
        self.do_open()

    def do_say(self, text: str | None) -> None:
        self.answer = text

    def do_click(self, selector: str) -> None:
        self.page.locator(selector).first.click()

    def do_fill(self, values: list[str]) -> None:
        field = self.page.locator(values[0]).first
        field.fill(values[1])
        field.blur()

    def do_press(self, values: list[str]) -> None:
        self.page.locator(values[0]).first.press(values[1])

    def do_type(self, values: list[str]) -> None:
        self.page.locator(values[0]).first.press_sequentially(values[1])

    def do_upload(self, selector: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "in.png"
            path.write_bytes(base64.b64decode(picture_text()))
            self.page.locator(selector).first.set_input_files(str(path))

    def do_serve(self, values: list[str]) -> None:
        pattern, html = values
        self.page.route(pattern, lambda route: route.fulfill(body=html, content_type="text/html"))
        self.do_open()

    def do_run(self, code: str) -> None:
        self.page.evaluate(code)

    def do_is(self, code: str) -> None:
        self.page.wait_for_function(code)

    def do_generate(self, tab: str) -> None:
        for name, value in {"width": 64, "height": 64, "steps": 2}.items():
            self.do_fill([f"#{tab}_{name} input[type=number]", str(value)])
        before = self.page.evaluate(f"document.querySelector('#{tab}_gallery img')?.src")
        self.do_click(f"#{tab}_generate")
        self.page.wait_for_function(IS_DONE, arg=[tab, before], timeout=JOB_MS)
        log = self.page.locator(f"#html_log_{tab} .error")
        if log.count():
            raise RuntimeError(log.first.inner_text())


def check_browser(server: Server, rows: list[Row], pictures: Path | None) -> dict[str, list[str]]:
    """Takes the steps of rows, each on a page of its own; returns {id: faults}. What a page looked like when a step
    failed is kept in a folder.
    """
    faults = {}
    with browser() as program:
        for row in rows:
            visit = Visit(program, server, row)
            faults[row["id"]] = visit.run(row["page"]["browser"])
            if faults[row["id"]] and pictures is not None:
                with contextlib.suppress(Exception):  # a page that hangs has no picture
                    visit.page.screenshot(path=pictures / f"{row['id']}.png")
            visit.page.close()
    return faults
