"""What programs write, version by version, as they write it: read whole, and nothing that is not there."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from modules import dialects, infotext
from modules.dialects import base, chunks, draw_things


def fields(texts, size=(0, 0)):
    """The fields that an image with these texts gives."""
    texts = {"parameters": texts} if isinstance(texts, str) else texts
    found = dialects.translated(base.Chunks(texts, size))
    return infotext.parse_infotext(texts["parameters"] if found is None else found)


def chosen(found, *keys):
    return [found.get(key) for key in keys]


FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)",
    "base_model": "fruit",
    "base_model_hash": "aeb7e9e689",
    "clip_skip": 2,
    "full_negative_prompt": ["blurry", "bad"],
    "full_prompt": ["cinematic still red apple . emotional"],
    "guidance_scale": 4,
    "lora_combined_1": "shine : 0.1",
    "loras": [["shine", 0.1, "4852686128"]],
    "metadata_scheme": "fooocus",
    "negative_prompt": "blurry",
    "performance": "Speed",
    "prompt": "red apple",
    "refiner_model": "None",
    "refiner_switch": 0.5,
    "resolution": "(896, 1152)",
    "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras",
    "seed": "3126489475",
    "sharpness": 2,
    "steps": 30,
    "styles": "['Fooocus V2', 'Fooocus Enhance']",
    "vae": "Default (model)",
    "version": "Fooocus v2.5.5",
}


def test_fooocus_of_today():
    found = fields({"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"})
    assert chosen(found, "Sampler", "Schedule type", "Seed", "Size-1", "Size-2", "Clip skip", "CFG scale") == [
        "DPM++ 2M SDE",
        "Karras",
        "3126489475",
        "896",
        "1152",
        "2",
        "4",
    ]
    assert found["Prompt"] == "red apple<lora:shine:0.1>"
    assert not {"VAE", "Refiner", "Refiner switch at", "Version"} & found.keys()
    without_list = {key: value for key, value in FOOOCUS.items() if key != "loras"}
    assert fields(json.dumps(without_list))["Prompt"] == "red apple<lora:shine:0.1>"


@pytest.mark.parametrize("extension", ["jpg", "webp"])
def test_fooocus_puts_its_comment_among_the_main_tags(extension):
    exif = Image.Exif()
    exif[0x9286], exif[0x0131], exif[0x927C] = json.dumps(FOOOCUS), "Fooocus v2.5.5", "fooocus"
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format={"jpg": "JPEG"}.get(extension, extension), exif=exif)
    found = dialects.translated(chunks.chunks_of(Image.open(file)))
    assert infotext.parse_infotext(found)["Seed"] == "3126489475"


def test_fooocus_with_the_scheme_a1111():
    text = (
        "cinematic still red apple\nNegative prompt: blurry\nSteps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 31, "
        'Size: 896x1152, CFG scale: 4, Sharpness: 2, ADM Guidance: "(1.5, 0.8, 0.3)", Model: fruit, '
        "Model hash: aeb7e9e689, Performance: Speed, Scheduler: karras, VAE: Default (model), "
        "Raw prompt: red apple, Raw negative prompt: blurry, Refiner: None, Clip skip: 2, "
        'Lora hashes: "shine: 4852686128, wood: 1234567890", Lora weights: "shine: 0.1, wood: -0.5", '
        "Version: Fooocus v2.5.5"
    )
    found = fields({"parameters": text, "fooocus_scheme": "a1111"})
    assert found["Prompt"] == "cinematic still red apple<lora:shine:0.1><lora:wood:-0.5>"
    assert chosen(found, "Sampler", "Schedule type", "Raw prompt") == ["DPM++ 2M SDE", "Karras", "red apple"]
    assert not {"VAE", "Refiner", "Lora weights", "Version", "Scheduler"} & found.keys()


SWARM = {
    "prompt": "red apple",
    "negativeprompt": "blurry",
    "model": "OfficialStableDiffusion/fruit.safetensors",
    "seed": 1234567890,
    "steps": 25,
    "cfgscale": 5.5,
    "aspectratio": "1:1",
    "width": 1024,
    "height": 768,
    "sampler": "euler_ancestral",
    "scheduler": "sgm_uniform",
    "automaticvae": True,
    "loras": ["styles/shine", "wood"],
    "loraweights": ["0.75", "1"],
    "swarm_version": "0.9.6.0",
}


def swarm(**changes):
    source = {key: value for key, value in (SWARM | changes).items() if value is not None}
    return fields(json.dumps({"sui_image_params": source, "sui_extra_data": {"date": "2026-01-02"}}))


def test_swarm():
    found = swarm(vae="Automatic")
    assert found["Prompt"] == "red apple<lora:shine:0.75><lora:wood:1>"
    assert chosen(found, "Model", "VAE", "Sampler", "Schedule type") == ["fruit", None, "Euler a", "SGM Uniform"]
    assert swarm(loras="shine, wood", loraweights="0.5")["Prompt"] == "red apple<lora:shine:0.5><lora:wood:1>"
    assert swarm(loras=None, loraweights=None, clipstopatlayer=-2)["Clip skip"] == "2"


def test_swarms_refiner_is_what_it_did():
    step_swap = {"refinercontrolpercentage": 0.2, "refinermethod": "StepSwap", "refinermodel": "polish.safetensors"}
    assert chosen(swarm(**step_swap), "Refiner", "Refiner switch at") == ["polish", "0.8"]
    second = {"refinercontrolpercentage": 0.4, "refinermethod": "PostApply", "refinermodel": "(Use Base)"}
    second |= {"refinerupscale": 1.5, "refinerupscalemethod": "pixel-lanczos", "refinersteps": 12}
    keys = ("Hires upscale", "Hires upscaler", "Hires steps", "Denoising strength", "Refiner")
    assert chosen(swarm(**second), *keys) == ["1.5", "Lanczos", "12", "0.4", None]
    model = swarm(**second | {"refinerupscalemethod": "model-4x-Sharp.pth"})
    assert model["Hires upscaler"] == "4x-Sharp"
    other = swarm(**second | {"refinerupscalemethod": "latentmodel-x"})
    assert chosen(other, "Hires upscaler", "Unknown hires upscaler") == [None, "latentmodel-x"]


def test_few_facts_are_still_no_prompt():
    only = {"prompt": "red apple", "seed": 5}
    found = fields(json.dumps({"sui_image_params": only}))
    assert chosen(found, "Prompt", "Seed", "Negative prompt") == ["red apple", "5", ""]
    assert fields(json.dumps({"sui_image_params": {"prompt": "red apple"}}))["Prompt"] == "red apple"


INVOKE = {
    "app_version": "3.4.0",
    "generation_mode": "txt2img",
    "positive_prompt": "red apple",
    "negative_prompt": "blurry",
    "width": 512,
    "height": 768,
    "seed": 77,
    "rand_device": "cpu",
    "cfg_scale": 7.5,
    "steps": 30,
    "scheduler": "euler_a",
    "clip_skip": 0,
    "model": {"model_name": "fruit", "base_model": "sd-1", "model_type": "main"},
    "controlnets": [],
    "loras": [{"lora": {"model_name": "shine", "base_model": "sd-1"}, "weight": 0.75}],
    "vae": None,
    "strength": None,
}


def invoke(**changes):
    return fields({"invokeai_metadata": json.dumps(INVOKE | changes)})


def test_invoke_of_every_version():
    found = invoke()
    assert found["Prompt"] == "red apple<lora:shine:0.75>"
    assert chosen(found, "Model", "Sampler", "Clip skip", "VAE", "Denoising strength", "RNG") == [
        "fruit",
        "Euler a",
        None,
        None,
        None,
        "CPU",
    ]
    model = {"key": "1-2", "hash": "blake3:ab", "name": "pear", "base": "sdxl", "type": "main"}
    found = invoke(
        app_version="5.6.0",
        generation_mode="sdxl_img2img",
        model=model,
        loras=[{"model": {"name": "wood", "type": "lora"}, "weight": 1.2}],
        strength=0.6,
        scheduler="kdpm_2_a_k",
        vae={"name": "sdxl-vae"},
        positive_style_prompt="",
        refiner_model={"name": "polish"},
        refiner_start=0.8,
    )
    assert found["Prompt"] == "red apple<lora:wood:1.2>"
    assert chosen(found, "Model", "Sampler", "Schedule type", "VAE", "Denoising strength", "Refiner") == [
        "pear",
        "DPM2 a",
        "Karras",
        "sdxl-vae",
        "0.6",
        "polish",
    ]
    flux = invoke(generation_mode="flux_txt2img", guidance=4, scheduler=None, cfg_scale=1, strength=0.7)
    assert chosen(flux, "Distilled CFG Scale", "Sampler", "Denoising strength") == ["4", None, None]
    assert chosen(invoke(scheduler="dpmpp_2s_k"), "Sampler", base.UNKNOWN_SAMPLER) == [None, "dpmpp_2s"]


def test_invoke_2():
    image = {"prompt": [{"prompt": "red apple [blurry]", "weight": 1}], "steps": 50, "cfg_scale": 7.5, "seed": 3}
    image |= {"width": 512, "height": 512, "sampler": "k_lms", "type": "txt2img", "strength": 0.75}
    source = {"app_version": "2.3.0", "model": "stable diffusion", "model_weights": "fruit", "image": image}
    found = fields({"sd-metadata": json.dumps(source)})
    assert chosen(found, "Prompt", "Negative prompt", "Sampler", "Model", "Denoising strength") == [
        "red apple",
        "blurry",
        "LMS",
        "fruit",
        None,
    ]


NOVELAI = {
    "steps": 28,
    "sampler": "k_euler_ancestral",
    "scale": 5,
    "seed": 9,
    "uc": "blurry",
    "noise_schedule": "karras",
}


def novelai(source, comment):
    texts = {"Software": "NovelAI", "Source": source, "Description": "red apple", "Comment": json.dumps(comment)}
    return fields(texts, (832, 1216))


def test_novelai_of_every_model():
    assert chosen(novelai("Stable Diffusion 81274D13", NOVELAI), "Clip skip", "ENSD") == ["2", "31337"]
    assert chosen(novelai("Stable Diffusion XL C1E1DE52", NOVELAI | {"sm": True}), "Clip skip", "SMEA") == [
        None,
        "True",
    ]
    caption = {"base_caption": "red apple", "char_captions": [{"char_caption": "a worm", "centers": []}]}
    comment = NOVELAI | {"v4_prompt": {"caption": caption}, "v4_negative_prompt": {"caption": {"base_caption": "x"}}}
    found = novelai("NovelAI Diffusion V4 37442FCA", comment)
    assert chosen(found, "Prompt", "Negative prompt", "ENSD", "Sampler") == [
        "red apple\na worm",
        "blurry",
        None,
        "Euler a",
    ]
    whole = {"Software": "NovelAI", "Description": "red apple", "Comment": json.dumps(NOVELAI)}
    assert fields({"stealth": json.dumps(whole)})["Seed"] == fields(json.dumps(whole))["Seed"] == "9"


def xmp(body):
    return f'<x:xmpmeta xmlns:x="a" xmlns:exif="http://ns.adobe.com/exif/1.0/" tool="Draw Things">{body}</x:xmpmeta>'


def test_draw_things_of_today():
    source = {"c": "red apple", "uc": "blurry", "model": "fruit_f16.ckpt", "sampler": "Euler A AYS", "scale": 4.5}
    source |= {"seed": 4, "steps": 8, "size": "1024x768", "strength": 1, "v2": {"loras": [{"file": "shine.ckpt"}]}}
    text = json.dumps(source)
    found = fields({"xmp": xmp(f"<exif:UserComment>{text}</exif:UserComment>")})
    assert chosen(found, "Prompt", "Sampler", "Schedule type", "Size-1") == [
        "red apple<lora:shine:1>",
        "Euler a",
        "Align Your Steps",
        "1024",
    ]
    with pytest.raises(base.Unreadable, match="document type"):
        draw_things.user_comment('<!DOCTYPE a [<!ENTITY b "c">]><a tool="Draw Things"/>')


def test_sdnext_with_templates_of_several_lines_and_a_hires_pass():
    text = (
        "a still of red apple\nNegative prompt: blurry, bad\nTemplate: red\napple\nNegative template: blurry\nbad\n"
        "Steps: 20, Size: 512x768, Sampler: UniPC, Scheduler: karras, Seed: 3, CFG scale: 6, CFG end: 0.8, "
        "CLiP-skip: 2, App: SD.Next, Version: 1a23456, Model: fruit, HiRes upscaler: Lanczos, HiRes scale: 2.0, "
        "HiRes steps: 10, HiRes strength: 0.4, HiRes sampler: Euler a, Refiner: None, Variation seed: 5, "
        "Variation strength: 0.1"
    )
    found = fields(text)
    assert chosen(found, "Prompt", "Negative prompt", "Template", "Negative template") == [
        "a still of red apple",
        "blurry, bad",
        "red\napple",
        "blurry\nbad",
    ]
    assert chosen(found, "Sampler", "Schedule type", "Clip skip", "Hires upscaler", "Hires upscale", "Hires steps") == [
        "UniPC",
        "Karras",
        "2",
        "Lanczos",
        "2.0",
        "10",
    ]
    assert chosen(found, "Denoising strength", "Hires sampler", "Variation seed strength") == ["0.4", "Euler a", "0.1"]
    assert not {"Version", "Refiner", "CLiP-skip", "Scheduler"} & found.keys()


def civitai(resources, more=""):
    head = "red apple\nNegative prompt: blurry\nSteps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 5, Size: 8x8, "
    return fields(f"{head}Clip skip: 2, Created Date: 2026-01-02T0304:05.678Z, Civitai resources: {resources}{more}")


def test_civitai_resources_of_every_kind():
    resources = [
        {"type": "checkpoint", "modelVersionId": 1, "modelName": "Fruit, ripe", "modelVersionName": "v1, [b]"},
        {"modelVersionId": 2, "modelName": "Shine: bright", "weight": 0.8, "air": "urn:air:sdxl:lora:civitai:2@3"},
        {"type": "lycoris", "modelVersionId": 3, "modelName": "Wood", "weight": 0},
        {"type": "dora", "modelName": "Dora"},
        {"type": "embed", "modelVersionId": 4, "modelName": "Bad hands"},
        {"type": "vae", "modelName": "Clear"},
        "no object",
    ]
    metadata = ', Civitai metadata: {"remixOfId": 1, "list": ["a, b", "]"]}'
    found = civitai(json.dumps(resources), metadata)
    assert found["Prompt"] == "red apple<lora:Shine bright:0.8><lora:Wood:0><lora:Dora:1>"
    assert chosen(found, "Model", "Sampler", "Schedule type", "Clip skip", "VAE") == [
        "Fruit, ripe",
        "DPM++ 2M",
        "Karras",
        "2",
        None,
    ]
    assert chosen(found, "Civitai embed", "Civitai vae") == ["Bad hands", "Clear"]


@pytest.mark.parametrize("damaged", ["[", '[{"type": "lora"', "[}", "{]", '[{"a": "]}', "[" * 5000, '{"a": ' * 5000])
def test_damaged_resources_leave_the_rest(damaged):
    found = civitai(damaged)
    assert chosen(found, "Prompt", "Seed", "Clip skip") == ["red apple", "5", "2"]


def test_sdcpp_says_nothing_that_means_something_else_here():
    text = (
        "red apple\nNegative prompt: blurry\nSteps: 20, CFG scale: 7.000000, Guidance: 3.500000, Eta: 0.000000, "
        "Seed: 42, Size: 512x512, Unet: fruit-q8_0.gguf, RNG: cuda, Sampler: euler_a, VAE: clear.safetensors, "
        "Clip skip: -1, "
        'Version: stable-diffusion.cpp, SDCPP: {"sample": {"steps": 20, "list": [1, 2]}}'
    )
    found = fields(text)
    assert chosen(found, "Model", "VAE", "RNG", "Sampler", "CFG scale") == ["fruit-q8_0", "clear", "NV", "Euler a", "7"]
    assert not {"Eta", "Clip skip", "Hires upscale", "Schedule type"} & found.keys()
    assert fields(text.replace("cuda", "std_default"))["Unknown RNG"] == "std_default"


def test_forge_neo_is_an_infotext_already():
    text = (
        "red apple\nSteps: 20, Sampler: Euler, Schedule type: Beta, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 5, "
        "Size: 64x64, Hires Module 1: Use same choices, Hires CFG Scale: 1, Version: neo, Diffusion in Low Bits: "
        "Automatic, Module 1: ae, Module 2: clip_l"
    )
    assert dialects.translated(base.Chunks({"parameters": text})) is None
    assert chosen(fields(text), "Module 1", "Module 2", "Hires CFG Scale") == ["ae", "clip_l", "1"]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '  {"a',
        "{}",
        "[1",
        '[{"prompt": "red"}]',
        '["red", "apple"]',
        "{'prompt': 'red'}",
        '\ufeff{"a": 1}',
        "{",
    ],
)
def test_json_of_nobody_is_no_prompt(text):
    found = dialects.translated_text(text)
    assert found == ("" if text != "[1" else text)


@pytest.mark.parametrize(
    "text", ["{red|green} apple", "[cat:dog:0.5]", "{{{apple}}}", "[[apple]]", "[apple]", "(a:1.2)"]
)
def test_prompts_with_brackets_are_prompts(text):
    assert dialects.translated_text(text) == text


NAMES = st.sampled_from(
    ["parameters", "UserComment", "comment", "Comment", "prompt", "invokeai_metadata", "sd-metadata", "stealth", "xmp"]
    + ["Software", "Description", "fooocus_scheme", "MakerNote", "Model", "Make"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = [
    FOOOCUS,
    {"sui_image_params": SWARM | {"refinercontrolpercentage": 0.3, "refinerupscale": 2}},
    INVOKE,
    {"app_version": "2", "image": {"prompt": [{"prompt": "a"}]}},
    {"Software": "NovelAI", "Comment": NOVELAI | {"v4_prompt": {"caption": {"char_captions": []}}}},
    {"software": "RuinedFooocus", "loras": [["a", "1 - b"]], "Prompt": "a"},
    {
        "1": {
            "class_type": "KSampler",
            "inputs": {"steps": 1, "positive": ["2", 0], "model": ["2", 0], "pipe": ["2", 1]},
        },
        "2": {"class_type": "SaveImage", "inputs": {"text_a": ["1", 0], "images": ["1", 0], "lora_name_1": "a"}},
    },
]


@st.composite
def changed_objects(draw):
    """An object of a program with some of its values replaced, as JSON, perhaps cut."""
    value = json.loads(json.dumps(draw(st.sampled_from(OBJECTS))))
    for _ in range(draw(st.integers(0, 4))):
        place = value
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
            if not isinstance(place[key], dict | list) or draw(st.booleans()):
                place[key] = draw(JSON)
                break
            place = place[key]
    text = json.dumps(value)
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


PAIRS_TEXT = st.lists(
    st.sampled_from(
        ["red\n", "Negative prompt: a\n", "Template: b\n", "Steps: 1, ", "Sampler: Euler Karras, ", "Size: 1x2, "]
        + ["App: SD.Next", "CLiP-skip: x, ", 'Civitai resources: [{"type": "lora", "modelName": "a"}], ', "Hashes: {, "]
        + [
            "Version: stable-diffusion.cpp, ",
            "Hires scale: y, ",
            'Lora weights: "a: 1..2", ',
            "Version: Fooocus, ",
            '"',
        ]
    ),
    max_size=12,
).map("".join)
TEXTS = changed_objects() | PAIRS_TEXT | st.text(max_size=40) | JSON.map(json.dumps)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(NAMES, TEXTS, max_size=4))
def test_no_reader_raises_and_no_json_becomes_a_prompt(texts):
    found = dialects.translated(base.Chunks(texts, (8, 8)))
    assert found is None or found.encode("utf8") is not None
    for text in texts.values():
        parsed = infotext.parse_infotext(dialects.translated_text(text))
        assert not base.is_like_json(text) or not base.is_like_json(parsed["Prompt"]) or parsed["Prompt"] in text[1:]
