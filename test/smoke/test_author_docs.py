"""The examples of the documents for authors, all at once in a running program: they load and do what they say."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path

from PIL import Image

from modules import hooks
from test.smoke.test_launch import start  # noqa: F401  # a fixture

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = re.compile(r"```python\n# (extensions/\S+)\n(.*?)```", re.DOTALL)
JOB = {"prompt": "red apple", "steps": 2, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}
NOT_HERE = {"on_before_reload", "on_script_unloaded", "on_before_token_counter", "on_ui_train_tabs"}
"""Hooks that a program which starts, makes images and is stopped does not call."""


def coded(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_examples_load_and_do_what_they_say(start, tmp_path):  # noqa: F811
    for document in ("extensions.md", "extension_guide.md"):
        for place, code in EXAMPLE.findall((DOCS / document).read_text(encoding="utf8")):
            file = tmp_path / "data" / place
            file.parent.mkdir(parents=True)
            file.write_text(code, encoding="utf8")
    for name in ("hook_examples", "template_extension"):
        shutil.copytree(DOCS / name, tmp_path / "data" / "extensions" / name)
    program = start("--skip-install", "--trace-hooks")
    program.wait_for_line("Running on local URL")

    def make(kind="txt2img", **fields):
        answer = json.loads(program.request(f"/sdapi/v1/{kind}", JOB | fields))
        return answer["images"], json.loads(answer["info"])

    assert json.loads(program.request("/sdapi/v1/options"))["guide_amount"] == 2
    assert json.loads(program.request("/guide/v1/tokens", {"prompt": "red apple"})) == {"chunks": 1}
    assert json.loads(program.request("/examples/ping")) == "pong"

    tint = {"alwayson_scripts": {"Guide: tint": {"args": [True, 0.4]}}}
    assert "Guide tint: 0.4" in make(**tint)[1]["infotexts"][0]
    pasted = make(infotext="red apple\nSteps: 2, Sampler: Euler, Seed: 1, Guide tint: 0.6")
    assert "Guide tint: 0.6" in pasted[1]["infotexts"][0]
    images, info = make(script_name="Guide: twice", script_args=[])
    assert len(images) == 2
    assert all(f"Seed: {seed}," in text for seed, text in zip((1, 2), info["infotexts"], strict=True))
    assert "Guide louder: loud" in make(prompt="red apple <louder:loud>")[1]["infotexts"][0]

    strength = {"alwayson_scripts": {"Examples": {"args": [0.3]}}}
    hires = {"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.7, "n_iter": 2, "save_images": True}
    images, info = make(**strength, **hires)
    assert "Example strength: 0.3" in info["infotexts"][-1] and len(images) >= 2
    told = json.loads(program.request("/sdapi/v1/png-info", {"image": pasted[0][0]}))
    assert "Guide tint: 0.6" in told["info"]
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    begins = {"init_images": [coded(Image.new("RGB", (64, 64), "red"))], "mask": coded(mask), "inpaint_full_res": False}
    noisy = {"override_settings": {"img2img_extra_noise": 0.1}}
    assert make("img2img", **strength, **begins, **noisy)[1]["infotexts"]

    page = json.loads(program.request("/config"))
    labels = {component["props"].get("label") for component in page["components"]}
    assert {"Examples", "Guide cards", "Guide: tint", "Guide: mirror"} <= labels
    choices = [str(component["props"].get("choices")) for component in page["components"]]
    assert any("Guide: tint" in text and "Seed" in text for text in choices), "the axis"

    text = "\n".join(program.lines)
    called = set(re.findall(r"hook (\w+): \S*hook_examples\.py", text))
    callbacks = {spec.category for spec in hooks.CALLBACK_HOOKS.values() if spec.registrar not in NOT_HERE}
    assert (callbacks | set(hooks.SCRIPT_HOOKS)) - called == set()
    assert not [line for line in program.lines if "Traceback" in line or " failed in " in line]
