"""Scripts whose images differ in the tags of networks: each is the image of its tags alone."""

import shutil
from pathlib import Path

import pytest

from modules import shared

GOLDEN = Path(__file__).parents[1] / "golden_networks" / "Lora"
NOTHING, PROMPT_SR = 0, 7
"""Axes of the X/Y/Z plot."""

TAGS = ("<lora:lab-lora:1>", "<lora:lab-lora:0.4>", "<lora:lab-lora:1:0>", "<lora:lab-second:1> <lora:lab-lora:-1>")


@pytest.fixture(scope="module", autouse=True)
def networks(client):
    """Two networks for the embedded model."""
    folder = Path(shared.cmd_opts.lora_dir)
    folder.mkdir(parents=True, exist_ok=True)
    copies = [shutil.copy(GOLDEN / f"{name}.safetensors", folder) for name in ("lab-lora", "lab-second")]
    client.post("/sdapi/v1/refresh-loras")
    yield
    for copy in copies:
        Path(copy).unlink()
    client.post("/sdapi/v1/refresh-loras")


@pytest.fixture
def singles(txt2img):
    """Tags -> their image alone."""
    images = {tags: txt2img(prompt=f"red apple {tags}").pixels[0] for tags in TAGS}
    assert len(set(images.values())) == len(TAGS)
    return images


def test_prompt_search_and_replace(txt2img, singles):
    plot = [PROMPT_SR, ", ".join(TAGS), [], NOTHING, "", [], NOTHING, "", []]
    flags = [False, True, False, False, False, False, False, 0, False]
    result = txt2img(prompt=f"red apple {TAGS[0]}", script_name="X/Y/Z plot", script_args=[*plot, *flags])
    assert result.pixels[1:] == [singles[tags] for tags in TAGS]
    for infotext, tags in zip(result.infotexts[1:], TAGS, strict=True):
        assert infotext.startswith(f"red apple {tags}\n")
        assert ('Lora hashes: "' in infotext) and ("lab-second: " in infotext) == ("lab-second" in tags)


def test_prompts_from_file(txt2img, singles):
    lines = "\n".join(f"red apple {tags}" for tags in TAGS)
    script = {"script_name": "prompts from file or textbox", "script_args": [False, True, "start", lines]}
    result = txt2img(prompt="", **script)
    assert result.pixels == [singles[tags] for tags in TAGS]


def test_prompt_matrix(txt2img):
    prompt = "red apple|<lora:lab-lora:1>|<lora:lab-second:1>"
    result = txt2img(prompt=prompt, script_name="Prompt matrix", script_args=[False, False, "positive", "comma", 0])
    tags = ("", ", <lora:lab-lora:1>", ", <lora:lab-second:1>", ", <lora:lab-lora:1>, <lora:lab-second:1>")
    assert result.pixels[1:] == [txt2img(prompt=f"red apple{each}").pixels[0] for each in tags]
