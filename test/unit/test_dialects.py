"""The metadata of other programs: each sample gives its true fields, and damaged ones no prompt of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules import dialects, infotext
from modules.dialects import base, chunks, comfy, pairs, stealth

SAMPLES = Path(__file__).resolve().parent.parent / "data" / "dialects"
EXPECTED = json.loads((SAMPLES / "expected.json").read_text(encoding="utf8"))
OWN = ("a1111.png", "forge.png", "stealth_rgb.png")
"""Samples whose text is v1.10.1's, which no reader has to translate."""


def text_of(name: str) -> str:
    found = chunks.chunks_of(Image.open(SAMPLES / name))
    translated = dialects.translated(found)
    return found.get("parameters", "stealth") if translated is None else translated


@pytest.mark.parametrize("name", EXPECTED)
def test_every_sample_gives_its_true_fields(name):
    fields = infotext.parse_infotext(text_of(name))
    if "Size-1" in fields:
        fields["Size"] = f"{fields['Size-1']}x{fields['Size-2']}"
    assert {key: fields.get(key) for key in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_only_texts_of_others_are_translated(name):
    assert (dialects.detect(chunks.chunks_of(Image.open(SAMPLES / name))) is None) == (name in OWN)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_translation_is_not_translated_again(name):
    assert dialects.translated_text(text_of(name)) == text_of(name)


@pytest.mark.parametrize("name", ["fooocus.png", "ruined_fooocus.png", "swarm.png"])
def test_a_text_that_was_copied_reads_as_its_image(name):
    text = chunks.chunks_of(Image.open(SAMPLES / name)).get("parameters")
    assert dialects.translated_text(text) == text_of(name)


@pytest.mark.parametrize("name", [n for n in EXPECTED if n.endswith(".png") and n not in OWN])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_cut_metadata_never_become_a_prompt_of_json(name, share):
    whole = chunks.chunks_of(Image.open(SAMPLES / name))
    cut = base.Chunks({key: text[: int(len(text) * share)] for key, text in whole.texts.items()})
    translated = dialects.translated(cut)
    assert translated is None or not translated.startswith("{")


def graph(**changes):
    whole = json.loads(chunks.chunks_of(Image.open(SAMPLES / "comfy.png")).get("prompt"))
    return whole | {key.removeprefix("n"): value for key, value in changes.items()}


def read_graph(nodes):
    return comfy.read_comfy(base.Chunks({"prompt": json.dumps(nodes)}))


def test_the_sampler_of_the_saved_image_counts_not_the_first():
    assert read_graph(graph()).parameters["Steps"] == 12
    preview = {"class_type": "PreviewImage", "inputs": {"images": ["13", 0]}}
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["8", 0]}}
    assert read_graph(graph(n12=preview, n13=decode)).parameters["Steps"] == 12


def test_a_sampler_of_parts_is_put_together():
    links = {
        "noise": ["20", 0],
        "guider": ["21", 0],
        "sampler": ["22", 0],
        "sigmas": ["23", 0],
        "latent_image": ["7", 0],
    }
    nodes = graph(
        n9={"class_type": "SamplerCustomAdvanced", "inputs": links},
        n20={"class_type": "RandomNoise", "inputs": {"noise_seed": 99}},
        n21={
            "class_type": "CFGGuider",
            "inputs": {"cfg": 4, "model": ["3", 0], "positive": ["4", 0], "negative": ["5", 0]},
        },
        n22={"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler_ancestral"}},
        n23={"class_type": "BasicScheduler", "inputs": {"scheduler": "sgm_uniform", "steps": 9, "denoise": 1}},
    )
    reading = read_graph(nodes)
    assert reading.parameters | {"Model": "fruit"} == {
        "Steps": 9,
        "Sampler": "Euler a",
        "Schedule type": "SGM Uniform",
        "CFG scale": 4,
        "Seed": 99,
        "Size": "64x48",
        "Model": "fruit",
    }
    assert reading.negative_prompt == "blurry, text"


def test_a_circle_of_links_ends():
    nodes = graph()
    nodes["4"]["inputs"] = {"conditioning": ["4", 0]}
    nodes["2"]["inputs"]["model"] = ["3", 0]
    assert read_graph(nodes).prompt == ""


def test_a_graph_without_a_sampler_is_named():
    with pytest.raises(base.Unreadable, match="no sampler"):
        read_graph({"1": {"class_type": "SaveImage", "inputs": {}}})


def test_unknown_names_of_samplers_stay_visible_and_choose_nothing():
    parameters = {}
    base.put_sampler(parameters, "res_multistep", "linear_quadratic")
    assert parameters == {base.UNKNOWN_SAMPLER: "res_multistep", base.UNKNOWN_SCHEDULE: "linear_quadratic"}


def test_json_among_pairs_is_taken_out_whole_whatever_is_in_it():
    line = 'Steps: 3, Civitai resources: [{"a": "x], y", "b": [1, {"c": "\\""}]}], Seed: 4'
    rest, values = base.cut_json_values(line, pairs.JSON_KEYS)
    assert infotext.parse_parameters(rest) == {"Steps": "3", "Seed": "4"}
    assert values["Civitai resources"][0]["b"] == [1, {"c": '"'}]


def test_unbalanced_brackets_take_the_rest_and_leave_what_stood_before():
    rest, values = base.cut_json_values("Steps: 3, Civitai resources: [{'a': ", pairs.JSON_KEYS)
    assert rest == "Steps: 3"
    assert values == {"Civitai resources": "[{'a': "}


def test_ten_megabytes_of_text_are_read():
    text = "apple, " * 1_500_000 + "\nSteps: 3, Sampler: Euler, Seed: 4, Version: stable-diffusion.cpp"
    assert infotext.parse_infotext(dialects.translated_text(text))["Seed"] == "4"


@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_pixels_that_hide_nothing_give_no_text(mode):
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, len(mode)), dtype=np.uint8)
    assert stealth.read(Image.fromarray(pixels, mode)) == ""


def test_a_hidden_length_beyond_the_image_is_no_text():
    message = b"stealth_pnginfo" + (2**31).to_bytes(4)
    bits = np.unpackbits(np.frombuffer(message, np.uint8))
    alpha = np.zeros((16, 16), np.uint8)
    alpha.T.reshape(-1)[: len(bits)] = bits
    columns = np.zeros(256, np.uint8)
    columns[: len(bits)] = bits
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 3] = columns.reshape(16, 16).T
    assert stealth.read(Image.fromarray(pixels, "RGBA")) == ""


@pytest.mark.parametrize("names", [base.SAMPLERS, base.SCHEDULES])
def test_every_name_leads_to_one_of_ours(program, names):
    from modules import sd_samplers, sd_schedulers

    known = set(sd_samplers.all_samplers_map) | {scheduler.label for scheduler in sd_schedulers.schedulers}
    assert set(names.values()) <= known


@pytest.mark.parametrize("name", EXPECTED)
def test_reading_an_image_keeps_what_it_said_before(program, name):
    from modules import images

    image = Image.open(SAMPLES / name)
    geninfo, items = images.read_info_from_image(image)
    assert geninfo == text_of(name)
    if "parameters" in image.info and name not in OWN:
        assert items[images.ORIGINAL] == image.info["parameters"]


def test_damaged_json_stays_visible_and_is_no_prompt(program):
    from modules import images, infotext_utils

    image = Image.new("RGB", (8, 8))
    image.info["parameters"] = '{"sui_image_params": {"prompt": "red'
    text, items = images.read_info_from_image(image)
    assert (text, items[images.ORIGINAL]) == (None, image.info["parameters"])
    assert items[images.UNREADABLE].startswith("SwarmUI: the metadata of SwarmUI is damaged")
    assert infotext_utils.parse_generation_parameters(image.info["parameters"])["Prompt"] == ""


def test_a_prompt_may_speak_of_templates_and_braces(program):
    from modules import infotext_utils

    text = "{red|green} apple\nTemplate: none\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64"
    assert infotext_utils.parse_generation_parameters(text)["Prompt"] == "{red|green} apple\nTemplate: none"
