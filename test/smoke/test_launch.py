"""Starts the program as a user does, in a process of its own, and talks to it over HTTP."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
from PIL import Image

from modules.paths_internal import script_path

FLAGS = ["--use-cpu", "all", "--no-half", "--precision", "full", "--api", "--api-server-stop"]
SECONDS_TO_ANSWER = 120


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Program:
    """A running program; its output is collected line by line."""

    def __init__(self, data_dir, *flags, code=None):
        self.port = free_port()
        program = ["launch.py"] if code is None else ["-c", code]
        command = [sys.executable, *program, "--port", str(self.port), "--data-dir", str(data_dir), *FLAGS, *flags]
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "SD_WEBUI_RESTARTING": "1", "PYTHONUNBUFFERED": "1"}
        environment.pop("COVERAGE_RUN", None)
        self.process = subprocess.Popen(
            command,
            cwd=script_path,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf8",
        )
        self.lines: list[str] = []
        self.news: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            self.news.put(line.rstrip())

    def wait_for_line(self, beginning):
        while not (line := self.news.get(timeout=SECONDS_TO_ANSWER)).startswith(beginning):
            pass
        return line

    def command(self, word):
        print(word, file=self.process.stdin, flush=True)

    def request(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        address = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers)
        with urllib.request.urlopen(address, timeout=SECONDS_TO_ANSWER) as answer:
            return answer.read()

    def first_ping(self):
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                return json.loads(self.request("/internal/ping"))
            assert self.process.poll() is None, "\n".join(self.lines)
            threading.Event().wait(0.05)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path):
    """Starts programs with a data folder of their own, and ends them after the test."""
    programs = []

    def start_program(*flags, code=None):
        programs.append(Program(tmp_path / "data", *flags, code=code))
        return programs[-1]

    yield start_program
    for program in programs:
        program.end()


def test_first_answer_comes_before_the_rest_and_an_early_request_waits(start):
    program = start()
    assert program.first_ping() == {}
    assert not any(line.startswith("Running on") for line in program.lines)

    body = {"prompt": "red apple", "steps": 2, "width": 64, "height": 64, "seed": 1}
    answer = json.loads(program.request("/sdapi/v1/txt2img", body))
    image = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    assert image.size == (64, 64)

    assert program.wait_for_line("Running on local URL").endswith(f"http://127.0.0.1:{program.port}")
    assert b"gradio" in program.request("/")
    profile = json.loads(program.request("/internal/profile-startup"))
    assert profile["total"] > 0 and "prepare environment" in profile["records"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_output_tells_what_happens_in_order_and_ctrl_c_ends_it(start):
    program = start("--nowebui")
    address = program.wait_for_line("Running on local URL")
    beginnings = [
        "Python 3.",
        "Version: v1.10.1-serena-",
        "Commit hash: ",
        "Launching API server with arguments",
        "Startup time: ",
    ]
    order = [next(i for i, line in enumerate(program.lines) if line.startswith(beginning)) for beginning in beginnings]
    assert order == sorted(order)
    assert program.lines.index(address) > order[-1]

    program.process.send_signal(signal.SIGINT)
    assert program.process.wait(timeout=60) == 0


@pytest.mark.skipif(os.name != "posix", reason="exec")
def test_restart_and_stop_over_the_api(start):
    program = start("--nowebui")
    program.wait_for_line("Running on local URL")
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        program.request("/sdapi/v1/server-restart", {})
    program.wait_for_line("Running on local URL")
    assert program.first_ping() == {}
    assert program.request("/sdapi/v1/server-stop", {}) == b"Stopping."
    assert program.process.wait(timeout=60) == 0


COMMANDED = """
import sys, threading
import webui

def obey():
    for command in sys.stdin:
        from modules import shared
        shared.state.server_command = command.strip()

threading.Thread(target=obey, daemon=True).start()
webui.main()
"""


def test_reload_keeps_the_server(start):
    program = start("--nowebui", "--skip-load-model-at-start", code=COMMANDED)
    program.wait_for_line("Running on local URL")
    program.command("nonsense")
    program.wait_for_line("unknown server command: nonsense")
    before = program.request("/sdapi/v1/scripts")
    program.command("restart")
    program.wait_for_line("Running on local URL")
    assert program.request("/sdapi/v1/scripts") == before
    program.command("stop")
    assert program.process.wait(timeout=60) == 0


EXTENSION = """
import gradio as gr
from modules import script_callbacks, scripts, shared
from modules.options import OptionInfo

def add_settings():
    print("hook ui_settings")
    shared.opts.add_option("my_weight", OptionInfo(0.5, "Weight", section=("mine", "Mine")))

class Mine(scripts.Script):
    def title(self):
        return "Mine"

    def show(self, is_img2img):
        return False if is_img2img else scripts.AlwaysVisible

    def after_component(self, component, **kwargs):
        if kwargs.get("elem_id") == "txt2img_prompt":
            self.prompt = component

    def ui(self, is_img2img):
        print(f"hook ui, weight {shared.opts.my_weight}")
        copied = gr.Textbox(label="Mine")
        gr.Button("Copy").click(lambda text: text, self.prompt, copied)
        return [copied]

class Broken(Mine):
    def ui(self, is_img2img):
        gr.Button("half").click(lambda: None, [gr.Textbox(), None])

script_callbacks.on_ui_settings(add_settings)
script_callbacks.on_before_ui(lambda: print("hook before_ui"))
script_callbacks.on_ui_tabs(lambda: print("hook ui_tabs") or [])
script_callbacks.on_app_started(lambda demo, app: print("hook app_started"))
"""


@pytest.mark.parametrize(
    ("flags", "order"),
    [
        ([], ["before_ui", "ui_settings", "ui, weight 0.5", "ui_tabs", "app_started"]),
        (["--nowebui"], ["ui_settings", "ui, weight 0.5", "ui_tabs", "before_ui", "app_started"]),
    ],
    ids=["page", "nowebui"],
)
def test_extension_finds_the_page_with_one_and_without(start, tmp_path, flags, order):
    script = tmp_path / "data" / "extensions" / "mine" / "scripts" / "mine.py"
    script.parent.mkdir(parents=True)
    script.write_text(EXTENSION, encoding="utf8")
    program = start(*flags, "--skip-load-model-at-start", code=COMMANDED)
    program.wait_for_line("Running on local URL")
    assert [line for line in program.lines if line.startswith("hook ")] == [f"hook {name}" for name in order]
    options = json.loads(program.request("/sdapi/v1/options"))
    assert options["my_weight"] == 0.5 and "prioritized_callbacks_ui_settings" in options
    assert any("where components belong" in line for line in program.lines), "the broken script is named"
    program.request("/sdapi/v1/options", {"my_weight": 0.75})

    script.write_text(EXTENSION.replace("my_weight", "my_height").replace("0.5", "1.5"), encoding="utf8")
    program.command("restart")
    program.wait_for_line("Running on local URL")
    reloaded = json.loads(program.request("/sdapi/v1/options"))
    assert reloaded["my_height"] == 1.5
    assert "hook ui, weight 1.5" in program.lines


def test_port_in_use_is_said_in_one_line(start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = start("--port", str(listener.getsockname()[1]))
        assert program.process.wait(timeout=60) == 1
        program.wait_for_line("Cannot serve on 127.0.0.1")
        assert not any("Traceback" in line for line in program.lines)
