"""Forms of other programs' metadata that are rare but real, and damaged ones: right values, and never a wrong one."""

from __future__ import annotations

import io
import json
import zlib

import pytest
from PIL import Image

from modules import dialects, images, infotext
from modules.dialects import base, chunks
from test.unit.test_dialects_comfy import plain
from test.unit.test_dialects_programs import FOOOCUS, INVOKE, NOVELAI, SWARM, chosen, fields

PAIRS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64"


def test_seeds_keep_all_their_digits():
    seed = "127589946317439009"
    assert fields(json.dumps(FOOOCUS | {"seed": seed}))["Seed"] == seed
    assert fields(json.dumps(FOOOCUS | {"seed": int(seed)}))["Seed"] == seed
    assert fields(json.dumps({"sui_image_params": SWARM | {"seed": f" {seed} "}}))["Seed"] == seed
    assert base.number("1e3") == 1000 and base.number("7.0") == 7 and base.number("-12") == -12
    assert [base.number(text) for text in ("", "1_0x", "nan", "inf", "9" * 400)] == [None] * 5


def test_civitai_without_line_breaks():
    text = (
        "a car in fog Negative prompt: blurry, dark Steps: 23, Sampler: Undefined, CFG scale: 3.5, Seed: 17, "
        'Size: 8x16, Clip skip: 2, Civitai resources: [{"type":"checkpoint","modelVersionId":2,"modelName":"Z"}], '
        "Civitai metadata: {}"
    )
    found = fields(text)
    assert chosen(found, "Prompt", "Negative prompt", "Steps", "Size-2", "Model", "Sampler", base.UNKNOWN_SAMPLER) == [
        "a car in fog",
        "blurry, dark",
        "23",
        "16",
        "Z",
        None,
        None,
    ]
    assert fields(text.replace(" Negative prompt: blurry, dark", ""))["Prompt"] == "a car in fog"


def test_numbers_of_versions_alone_stay_text():
    checkpoint, network = '{"type":"checkpoint","modelVersionId":1}', '{"type":"lora","weight":0.5,"modelVersionId":2}'
    resources = f'[{checkpoint},{network},{{"modelVersionId":9}}]'
    found = fields(f"a\n{PAIRS}, Civitai resources: {resources}, Civitai metadata: {{}}")
    assert chosen(found, "Prompt", "Model", base.UNKNOWN_NETWORK) == ["a", "modelVersionId 1", "modelVersionId 2 (0.5)"]


GRAPH = json.dumps(plain())
HOLDERS = {
    "comment": {"UserComment": GRAPH},
    "parameters": {"parameters": json.dumps(plain(), indent=2)},
    "request": {"parameters": json.dumps({"client_id": "x", "prompt": plain()})},
    "history": {"parameters": json.dumps({"prompt": [0, "id", plain(), {"extra_pnginfo": {}}, ["save"]]})},
    "with more": {"prompt": json.dumps(plain() | {"extra": {"airs": []}, "extraMetadata": '{"prompt": "no"}'})},
    "not a number": {"prompt": GRAPH.replace('"class_type": "KS', '"is_changed": [NaN], "class_type": "KS')},
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_graph_is_found_in_whatever_holds_it(name):
    assert chosen(fields(HOLDERS[name]), "Prompt", "Seed", "Model") == ["red apple", "7", "fruit"]


def test_a_node_may_be_called_prompt():
    nodes = json.loads(json.dumps(plain()).replace('"yes"', '"prompt"'))
    assert fields({"prompt": json.dumps(nodes)})["Prompt"] == "red apple"


@pytest.mark.parametrize(
    "change",
    [
        {"steps": "20", "cfg": "7.5", "denoise": True, "sampler_name": 5, "scheduler": None},
        {"positive": ["yes"], "negative": ["no", 0, 1], "model": [["model"], 0], "latent_image": [None, 0]},
        {"steps": 1e999, "cfg": float("nan"), "seed": -(10**30), "denoise": [1], "sampler_name": {"a": 1}},
    ],
)
def test_values_of_wrong_types_are_left_out_of_a_graph(change):
    found = fields({"prompt": json.dumps(plain(sampler=change))})
    assert found.get("Steps") in ("20", "12", None) and found.get("Sampler") in ("Euler", None)
    assert "Denoising strength" not in found


def test_invoke_1_and_its_command():
    dream = '"a red fox, \\"quoted\\" [blurry, text]" -s 50 -S 3357757885 -W 512 -H 768 -C 7.5 -A k_euler_a'
    keys = ("Negative prompt", "Steps", "Seed", "Size-1", "Size-2", "CFG scale", "Sampler")
    expected = ["blurry, text", "50", "3357757885", "512", "768", "7.5", "Euler a"]
    assert chosen(fields({"Dream": dream}), *keys) == expected
    assert fields({"Dream": '"a fox" -S 1 -s'})["Seed"] == "1"
    assert dialects.translated(base.Chunks({"Dream": '"a fox"'})) == ""
    assert dialects.translated(base.Chunks({"Dream": "a fox"})) is None


def test_swarms_creativity_counts_only_with_an_image():
    plain_job = {"sui_image_params": SWARM | {"initimagecreativity": 0.6}}
    assert "Denoising strength" not in fields(json.dumps(plain_job))
    with_image = plain_job | {"sui_extra_data": {"initimage_filename": "raw/x.png"}}
    assert fields(json.dumps(with_image))["Denoising strength"] == "0.6"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("euler_a karras", ["Euler a", "Karras", None, None]),
        ("euler gits", ["Euler", None, None, "gits"]),
        ("DPM++ 2M Trailing", ["DPM++ 2M", None, None, "Trailing"]),
        ("Euler A AYS", ["Euler a", "Align Your Steps", None, None]),
        ("dpm++2mv2 karras", [None, None, "dpm++2mv2 karras", None]),
        ("Euler CFG++", [None, None, "Euler CFG++", None]),
        ("DPM++ SDE Substep", [None, None, "DPM++ SDE Substep", None]),
        ("Undefined", [None, None, None, None]),
        ("", [None, None, None, None]),
        (["euler"], ["Euler", None, None, None]),
        (None, [None, None, None, None]),
        ({"a": 1}, [None, None, None, None]),
    ],
)
def test_names_of_samplers_with_a_schedule_behind(name, expected):
    parameters = {}
    base.put_sampler(parameters, name)
    assert chosen(parameters, "Sampler", "Schedule type", base.UNKNOWN_SAMPLER, base.UNKNOWN_SCHEDULE) == expected


def test_templates_behind_the_pairs():
    found = fields(f"a cat\nNegative prompt: b\n{PAIRS}, Version: v1.6.0\nTemplate: {{a|b}} cat\nNegative Template: b")
    assert chosen(found, "Prompt", "Negative prompt", "Seed", "Template", "Negative Template") == [
        "a cat",
        "b",
        "5",
        "{a|b} cat",
        "b",
    ]
    text = f"a cat\nTemplate: x\n{PAIRS}"
    assert dialects.translated_text(text) == text


def test_keys_are_whole_in_a_translation():
    text = "a\nSteps: 30, CFG scale: 5.0, Eta: 0.5, Seed: 1, Size: 8x8, Model: m, Sampler: euler, Version: "
    assert fields(f"{text}stable-diffusion.cpp")["sd-cpp eta"] == "0.5"
    assert fields(f"a\n{PAIRS}, App: SD.Next, Version: 1a2b3c4")["SD-Next version"] == "1a2b3c4"


WRONG = [
    None,
    [],
    {},
    [None],
    [["a"]],
    {"a": {}},
    True,
    -1,
    0.5,
    10**30,
    1e999,
    float("nan"),
    "",
    "x",
    "\ud800",
    "1" * 5000,
]
OBJECTS = {
    "SwarmUI": (SWARM, lambda source: {"parameters": json.dumps({"sui_image_params": source})}),
    "Fooocus": (FOOOCUS, lambda source: {"parameters": json.dumps(source), "fooocus_scheme": "fooocus"}),
    "InvokeAI": (INVOKE, lambda source: {"invokeai_metadata": json.dumps(source)}),
    "NovelAI": (NOVELAI, lambda source: {"Software": "NovelAI", "Description": "a", "Comment": json.dumps(source)}),
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: str(value)[:12].encode("ascii", "replace").decode())
@pytest.mark.parametrize("name", OBJECTS)
def test_one_wrong_value_spoils_no_other(name, wrong):
    source, texts_of = OBJECTS[name]
    right = fields(texts_of(source))
    for key in source:
        found = fields(texts_of(source | {key: wrong}))
        spoiled = [each for each in ("Steps", "CFG scale", "Seed") if found.get(each) != right.get(each)]
        assert len(spoiled) <= 1, (key, spoiled)
        assert not base.is_like_json(found["Prompt"])


@pytest.mark.parametrize("depth", [150, 400, 985, 990, 995, 5000, 100_000])
@pytest.mark.parametrize(
    "form",
    [
        '{"prompt": {"1": {"class_type": "KSampler", "inputs": DEEP}}}',
        '{"1": {"class_type": "KSampler", "inputs": {"steps": 1, "positive": DEEP}}}',
        '{"nodes": [{"type": "KSampler", "inputs": DEEP}], "links": DEEP}',
        '{"sui_image_params": {"prompt": DEEP, "seed": 5}}',
        f"a\n{PAIRS}, Civitai resources: DEEP",
        f"a\n{PAIRS}, Hashes: DEEP, Version: stable-diffusion.cpp",
    ],
)
@pytest.mark.parametrize("brackets", ["[]", ('{"a":', "}")])
def test_brackets_in_brackets_end(form, depth, brackets):
    text = form.replace("DEEP", brackets[0] * depth + "1" + brackets[1] * depth)
    for found in (dialects.translated_text(text), dialects.translated(base.Chunks({"prompt": text, "Comment": text}))):
        assert not base.is_like_json(infotext.parse_infotext(found or "")["Prompt"])


@pytest.mark.parametrize(
    "text",
    [
        '{"sui_image_params": {"prompt": "a", "seed": 1},}',
        '{"sui_image_params": "a"}',
        '{"sui_image_params": {"seed": ' + "9" * 5000 + "}}",
        '{"app_version": "5", "generation_mode": "txt2img"',
        "{'sui_image_params': {'prompt': 'a'}}",
        '{"prompt": "a", "negative_prompt": "b", "num_inference_steps": 20}',
    ],
)
def test_damaged_objects_give_no_prompt_and_a_reason(text):
    found = dialects.translate(base.Chunks({"parameters": text}))
    assert found.text == "" and found.problem


def test_nodes_of_comfy_write_its_names_of_samplers():
    text = "a cat\nSteps: 9, Sampler: {}, CFG scale: 4, Seed: 3, Size: 8x8, Model: sub/m.safetensors, "
    text += "Model hash: BB2C170125, Version: ComfyUI"
    for name, expected in {
        "euler_ancestral_karras": ["Euler a", "Karras"],
        "dpmpp_2m_sde_gpu": ["DPM++ 2M SDE", None],
        "dpmpp_2m_sgm_uniform": ["DPM++ 2M", "SGM Uniform"],
        "DPM++ 2M SDE Karras": ["DPM++ 2M SDE", "Karras"],
        "euler, Scheduler: simple": ["Euler", "Simple"],
        "res_multistep_simple": [None, None],
    }.items():
        found = fields(text.format(name))
        assert chosen(found, "Sampler", "Schedule type", "Model", "Model hash") == [*expected, "m", "bb2c170125"]


def test_tags_in_a_prompt_name_files_without_folders():
    prompt = "a <lora:styles/shine:0.75> <lora:sub\\\\wood.safetensors:1:0.5> <lora:plain:1> <segment:face,0.6>"
    found = fields(json.dumps({"sui_image_params": SWARM | {"prompt": prompt, "loraweights": ["0.75", "1"]}}))
    assert found["Prompt"] == "a <lora:shine:0.75> <lora:wood:1:0.5> <lora:plain:1> <segment:face,0.6>"


@pytest.mark.parametrize("name, tag", [("Shine: bright", "Shine bright"), ("no#1 a=b", "no_1 a_b"), ("<\n>", "")])
def test_tags_are_names_that_prompts_can_hold(name, tag):
    assert base.tag_of(name) == tag


def test_invoke_2_names_networks_in_its_prompt():
    image = {"prompt": "red apple withLora(shine, 0.7) withLora(wood) [blurry]", "steps": 5, "seed": 3, "cfg_scale": 7}
    found = fields({"sd-metadata": json.dumps({"app_version": "2.3.5", "image": image})})
    assert chosen(found, "Prompt", "Negative prompt") == ["red apple<lora:shine:0.7><lora:wood:1>", "blurry"]


def test_texts_behind_the_pixels_of_a_png_are_read(program):
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "PNG")
    data = file.getvalue()
    text = b"tEXt" + f"parameters\0a\n{PAIRS}".encode()
    chunk = (len(text) - 4).to_bytes(4) + text + zlib.crc32(text).to_bytes(4)
    for whole in (data[:-12] + chunk + data[-12:], data[:-12] + chunk):
        found, _ = images.read_info_from_image(Image.open(io.BytesIO(whole)))
        assert infotext.parse_infotext(found)["Seed"] == "5"
    cut = Image.open(io.BytesIO(data[: len(data) // 2]))
    assert chunks.chunks_of(cut).get("parameters") == ""


def test_of_keys_that_stand_twice_the_last_counts():
    found = fields('{"sui_image_params": {"prompt": "a", "seed": 1, "seed": 2, "steps": 3, "cfgscale": 2}}')
    assert found["Seed"] == "2"


def test_a_size_of_no_image_is_left_out():
    assert "Size-1" not in fields(json.dumps({"sui_image_params": SWARM | {"width": 1e30}}))
