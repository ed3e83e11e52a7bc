"""What 30 extensions cost a start, against what their own code takes: their files while they load, and their hooks.

    python benchmarks/startup_extensions.py [--starts 5] [--extensions DIR]

Starts without and with extensions take turns. Prints the ratio (with - without) / own, from medians of processor time.
own is what the program counts for them in the same starts. DIR holds real extensions; without it 30 are made: each
imports a package of its own, has an always-on script with controls on both tabs, and every third one a tab, a route and
settings.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
COUNT = 30
LIBRARY = """
import dataclasses

{classes}
"""
CLASS = """
@dataclasses.dataclass(frozen=True, order=True)
class Row{number}:
    name: str
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    values: list = dataclasses.field(default_factory=list)
"""
SCRIPT = """
import gradio as gr

from bench_{number} import rows
from modules import script_callbacks, scripts, shared


class Bench(scripts.Script):
    def title(self):
        return "Bench {number}"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with gr.Accordion("Bench {number}", open=False):
            enabled = gr.Checkbox(False, label="Enable", elem_id=self.elem_id("enabled"))
            strength = gr.Slider(0.0, 1.0, value=0.2, label="Strength", elem_id=self.elem_id("strength"))
            mode = gr.Dropdown(["a", "b"], value="a", label="Mode", elem_id=self.elem_id("mode"))
        self.infotext_fields = [(enabled, "Bench {number}"), (strength, "Bench {number} strength")]
        enabled.change(lambda value: gr.update(visible=value), inputs=[enabled], outputs=[strength])
        return [enabled, strength, mode]

    def process(self, p, *args):
        pass
"""
MORE = """

def on_ui_tabs():
    with gr.Blocks(analytics_enabled=False) as tab:
        text = gr.Textbox(label="Text", elem_id="bench_{number}_text")
        gr.Button("Go").click(lambda value: value, inputs=[text], outputs=[text])
    return [(tab, "Bench {number}", "bench_{number}")]


def on_app_started(demo, app):
    app.add_api_route("/bench/{number}", lambda: {number})


def on_ui_settings():
    section = ("bench_{number}", "Bench {number}")
    shared.opts.add_option("bench_{number}", shared.OptionInfo(1, "Bench {number}", section=section))


script_callbacks.on_ui_tabs(on_ui_tabs)
script_callbacks.on_app_started(on_app_started)
script_callbacks.on_ui_settings(on_ui_settings)
"""


def make_extensions(folder: Path) -> None:
    """Writes extensions of the kinds people have."""
    classes = "".join(CLASS.format(number=number) for number in range(60))
    for number in range(COUNT):
        extension = folder / f"bench-{number}"
        for part in ("scripts", "javascript", f"bench_{number}"):
            (extension / part).mkdir(parents=True)
        (extension / f"bench_{number}" / "rows.py").write_text(LIBRARY.format(classes=classes), encoding="utf8")
        text = SCRIPT + (MORE if number % 3 == 0 else "")
        (extension / "scripts" / "main.py").write_text(text.format(number=number), encoding="utf8")
        (extension / "javascript" / "main.js").write_text("onUiLoaded(() => {});\n", encoding="utf8")


def start_here(data_dir: str) -> None:
    """Starts the program in this process, from its own imports on, up to where it would serve; prints the seconds as
    JSON.
    """
    from benchmarks.common import FLAGS, set_up

    set_up([*(flag for flag in FLAGS if flag != "--nowebui"), "--skip-load-model-at-start", "--data-dir", data_dir])
    import webui
    from modules import extensions, hook_records, initialize

    hook_records.time = SimpleNamespace(perf_counter=time.process_time)
    initialize.imports()
    started = time.process_time()
    initialize.initialize()
    webui.create_app()
    total = time.process_time() - started
    records = hook_records.records
    own = {script: seconds for script, seconds in records.at_start.items() if is_users(extensions, script)}
    failed = [str(failure) for failure in records.failures]
    print(json.dumps({"total": total, "own": sum(own.values()), "failed": failed}), flush=True)
    os._exit(0)  # threads of extensions may not end


def is_users(extensions: Any, script: str) -> bool:
    """Tells whether a file is one of the extensions that are measured."""
    found = extensions.find_extension(script)
    return found is not None and not found.is_builtin


def start(data_dir: Path) -> dict[str, Any]:
    """Returns the seconds of a start in a process of its own."""
    command = [sys.executable, __file__, "--here", str(data_dir)]
    result = subprocess.run(command, cwd=data_dir, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if result.returncode:
        raise SystemExit(f"a start with {data_dir} ended with {result.returncode}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--extensions", type=Path, help="a folder of real extensions")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        start_here(args.here)
    with tempfile.TemporaryDirectory(prefix="serena-bench-") as work:
        plain, full = Path(work) / "plain", Path(work) / "full"
        plain.mkdir()
        if args.extensions:
            shutil.copytree(args.extensions, full / "extensions")
        else:
            make_extensions(full / "extensions")
        for data_dir in (plain, full):  # files are compiled, and those of a cold disk read
            for failed in start(data_dir)["failed"]:
                print(failed)
        found = [(start(plain), start(full)) for _ in range(args.starts)]
    without = statistics.median(one["total"] for one, _ in found)
    together = statistics.median(two["total"] for _, two in found)
    own = statistics.median(two["own"] for _, two in found)
    print(
        f"processor time, medians of {args.starts}: without {without:.2f} s, with {together:.2f} s, "
        f"their own code {own:.2f} s: ratio {(together - without) / own:.3f}"
    )


if __name__ == "__main__":
    main()
