"""Small extensions of the kinds people have, all at once, with a page and without."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from test.smoke.test_launch import start  # noqa: F401  # a fixture

KINDS = Path(__file__).resolve().parents[1] / "data" / "extensions"
JOB = {"prompt": "red apple", "steps": 2, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}


def generate(program, **fields):
    answer = json.loads(program.request("/sdapi/v1/txt2img", JOB | fields))
    image = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    return image.tobytes(), json.loads(answer["info"])["infotexts"][0]


@pytest.mark.parametrize("flags", [[], ["--nowebui"]], ids=["page", "nowebui"])
def test_extensions_of_all_kinds_do_their_job(start, tmp_path, flags):  # noqa: F811
    shutil.copytree(KINDS, tmp_path / "data" / "extensions")
    program = start(*flags, "--skip-install")
    program.wait_for_line("Running on local URL")

    options = json.loads(program.request("/sdapi/v1/options"))
    assert (options["own_number"], options["own_late"]) == (3, "late")
    scripts = json.loads(program.request("/sdapi/v1/scripts"))
    assert {"always on"} <= set(scripts["txt2img"]) & set(scripts["img2img"])
    assert json.loads(program.request("/own/v1/page")) == "a page in a frame"
    task = json.loads(program.request("/own/v1/task", {"prompt": "p", "unknown": 1}))
    assert task == {"prompt": "p", "name": None}

    plain, text = generate(program)
    assert "Own" not in text
    assert generate(program, sampler_name="Own")[0] == generate(program, sampler_name="Euler")[0], "it is Euler"
    own = {"alwayson_scripts": {"Always on": {"args": [True, 0.7]}}}
    changed, text = generate(program, **own)
    assert changed != plain and "Own strength: 0.7, Own number: 3" in text
    pasted = generate(program, infotext="red apple\nSteps: 2, Sampler: Euler, Seed: 1, Own strength: 0.7")
    assert pasted[0] == changed and "Own strength: 0.7" in pasted[1]

    if not flags:
        page = json.loads(program.request("/config"))
        ids = {component["props"].get("elem_id") for component in page["components"]}
        assert {"own_tab_box", "own_tab_greet", "finder_square", "txt2img_finder", "img2img_finder"} <= ids
        assert {"setting_own_number", "script_txt2img_always_on_enabled"} <= ids
        labels = {component["props"].get("label") for component in page["components"]}
        assert {"Own tab", "Own cards", "Always on"} <= labels
        assert b"own_tab.js" in program.request("/")
    assert not [line for line in program.lines if "Traceback" in line or "Error" in line]
