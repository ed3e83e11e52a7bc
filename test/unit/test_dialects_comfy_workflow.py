"""ComfyUI's graph as its page draws it: read as the graph that is carried out, or not at all."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from modules import dialects, images, infotext
from modules.dialects import base, comfy_workflow
from test.unit.test_dialects_comfy import SAMPLING, node, plain
from test.unit.test_dialects_comfy import read as read_graph

SLOTS = {"CheckpointLoaderSimple": ("MODEL", "CLIP", "VAE"), "KSampler": ("LATENT",), "LoraLoader": ("MODEL", "CLIP")}
KINDS = {"model": "MODEL", "clip": "CLIP", "vae": "VAE", "samples": "LATENT", "latent_image": "LATENT"}


def drawn(nodes, **changes):
    """The graph as the page draws it; changes lays keys over nodes."""
    numbers = {name: number for number, name in enumerate(nodes, 1)}
    links, found = [], []
    for name, each in nodes.items():
        names = comfy_workflow.WIDGETS.get(each["class_type"], "").split()
        inputs = []
        for key, value in each["inputs"].items():
            kind = KINDS.get(key, "STRING" if key in ("text", "string_a", "string_b") else "CONDITIONING")
            if isinstance(value, list):
                links.append([len(links) + 1, numbers[value[0]], value[1], numbers[name], len(inputs), kind])
                entry = {"name": key, "type": kind, "link": len(links)}
                inputs.append(entry | ({"widget": {"name": key}} if key in names else {}))
        values = [each["inputs"].get(key) if not isinstance(each["inputs"].get(key), list) else "left" for key in names]
        values = [
            "randomize" if key == comfy_workflow.CONTROL else value for key, value in zip(names, values, strict=True)
        ]
        outputs = [{"name": kind, "type": kind} for kind in SLOTS.get(each["class_type"], ())]
        row = {"id": numbers[name], "type": each["class_type"], "mode": 0, "inputs": inputs, "outputs": outputs}
        found.append(row | {"widgets_values": values} | changes.get(name, {}))
    return {"last_node_id": len(found), "nodes": found, "links": links, "groups": [], "version": 0.4}


def read(workflow, size=(0, 0)):
    chunks = base.Chunks({"workflow": json.dumps(workflow)}, size)
    return dialects.detect(chunks).read(chunks)


GRAPHS = {
    "plain": plain(),
    "networks": plain(
        shine=node(
            "LoraLoader", lora_name="shine.safetensors", strength_model=0.8, strength_clip=1, model=["model", 0]
        ),
        wood=node("LoraLoaderModelOnly", lora_name="wood.safetensors", strength_model=0.5, model=["shine", 0]),
        skip=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["shine", 1]),
        yes={"clip": ["skip", 0]},
        sampler={"model": ["wood", 0]},
    ),
    "sdxl": plain(
        yes=node(
            "CLIPTextEncodeSDXL",
            **dict.fromkeys(("width", "height", "target_width", "target_height"), 64),
            **{"crop_w": 0, "crop_h": 0, "text_g": "red", "text_l": "apple", "clip": ["model", 1]},
        )
    ),
    "parts": plain(
        guider=node("CFGGuider", cfg=4, model=["model", 0], positive=["yes", 0], negative=["no", 0]),
        select=node("KSamplerSelect", sampler_name="euler_ancestral"),
        sigmas=node("BasicScheduler", model=["model", 0], scheduler="simple", steps=9, denoise=1),
        noise=node("RandomNoise", noise_seed=5),
        vae=node("VAELoader", vae_name="ae.safetensors"),
        decode={"vae": ["vae", 0]},
        sampler=node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["select", 0],
            sigmas=["sigmas", 0],
            latent_image=["latent", 0],
        ),
    ),
    "two": plain(
        first=node(
            "KSampler",
            **SAMPLING | {"seed": 1},
            model=["model", 0],
            positive=["yes", 0],
            negative=["no", 0],
            latent_image=["latent", 0],
        ),
        grow=node("LatentUpscaleBy", upscale_method="nearest-exact", scale_by=1.5, samples=["first", 0]),
        sampler={"latent_image": ["grow", 0], "denoise": 0.5},
    ),
    "linked": plain(
        word=node("PrimitiveStringMultiline", value="apple"),
        joined=node("StringConcatenate", string_a="red", string_b=["word", 0], delimiter=" "),
        seed=node("PrimitiveInt", value=8),
        yes={"text": ["joined", 0]},
        sampler={"seed": ["seed", 0]},
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_both_graphs_say_the_same(name):
    assert read(drawn(GRAPHS[name])) == read_graph(GRAPHS[name])
    links_as_objects = drawn(GRAPHS[name])
    links_as_objects["links"] = [
        {"id": link[0], "origin_id": link[1], "origin_slot": link[2], "target_id": link[3], "target_slot": link[4]}
        for link in links_as_objects["links"]
    ]
    assert read(links_as_objects) == read_graph(GRAPHS[name])


def through(workflow, link, number, **changes):
    """Puts a node with one input into a link."""
    kind = workflow["links"][link - 1][5]
    row = {"id": number, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": link}], "outputs": [{}]}
    workflow["nodes"].append(row | changes)
    for each in workflow["nodes"]:
        for entry in each["inputs"]:
            if each["id"] != number and entry["link"] == link:
                entry["link"] = 900 + number
    workflow["links"].append([900 + number, number, 0, 0, 0, kind])
    return workflow


def test_nodes_that_hand_on_and_nodes_that_are_switched_off():
    plain_reading = read_graph(GRAPHS["plain"])
    link = next(row[0] for row in drawn(GRAPHS["plain"])["links"] if row[5] == "MODEL")
    assert read(through(drawn(GRAPHS["plain"]), link, 50)) == plain_reading
    named = through(drawn(GRAPHS["plain"]), link, 51, type="GetNode", widgets_values=["m"], inputs=[])
    setter = {"id": 52, "type": "SetNode", "widgets_values": ["m"], "outputs": []}
    named["nodes"].append(setter | {"inputs": [{"name": "MODEL", "type": "MODEL", "link": link}]})
    assert read(named) == plain_reading

    bypassed = {"mode": comfy_workflow.BYPASSED}
    assert read(drawn(GRAPHS["networks"], shine=bypassed)).networks == [("wood", 0.5)]
    assert read(drawn(GRAPHS["networks"], shine=bypassed)).parameters["Clip skip"] == 2
    assert read(drawn(GRAPHS["networks"], shine=bypassed, wood=bypassed)).parameters["Model"] == "fruit"
    muted = read(drawn(GRAPHS["networks"], wood={"mode": comfy_workflow.MUTED}))
    assert muted.networks == [] and "Model" not in muted.parameters


def test_a_primitive_gives_its_value():
    workflow = drawn(GRAPHS["linked"])
    primitive = next(row for row in workflow["nodes"] if row["type"] == "PrimitiveInt")
    primitive |= {"type": "PrimitiveNode", "widgets_values": [77, "fixed"]}
    assert read(workflow).parameters["Seed"] == 77


def test_values_of_a_strange_node_count_only_where_their_names_are_written():
    widgets = [{"name": name, "type": "*", "link": None, "widget": {"name": name}} for name in ("ckpt_name", "more")]
    named = {"type": "MyLoader", "inputs": widgets, "widgets_values": ["pear.safetensors", 3]}
    assert read(drawn(GRAPHS["plain"], model=named)).parameters["Model"] == "pear"
    for change in ({"inputs": []}, {"widgets_values": ["pear.safetensors"]}, {"inputs": widgets[:1]}):
        assert "Model" not in read(drawn(GRAPHS["plain"], model=named | change)).parameters
    by_name = named | {"inputs": [], "widgets_values": {"ckpt_name": "pear.ckpt"}}
    assert read(drawn(GRAPHS["plain"], model=by_name)).parameters["Model"] == "pear"


def test_a_strange_sampler_is_not_passed_over():
    workflow = drawn(GRAPHS["two"], sampler={"type": "KSampler of mine", "widgets_values": [1, 2, 3]})
    reading = read(workflow)
    assert reading.prompt == "red apple"
    assert not {"Steps", "Seed", "Sampler", "CFG scale", "Denoising strength"} & reading.parameters.keys()
    strange_text = drawn(GRAPHS["linked"], joined={"type": "Joiner", "widgets_values": ["red", 1, 2]})
    assert read(strange_text).prompt == ""


@pytest.mark.parametrize(
    "values",
    [
        [5, "fixed", "20", 7, "euler", "normal", 1][:6],
        ["euler", 5, 20, 7, 8, 9, 1],
        [],
        None,
        [{}] * 7,
        [5, "x", [], 7],
    ],
)
def test_values_of_another_version_are_not_guessed(values):
    reading = read(drawn(GRAPHS["plain"], sampler={"widgets_values": values, "outputs": [{"type": "LATENT"}]}))
    assert not {"Steps", "Seed", "Sampler", "CFG scale"} & reading.parameters.keys()


def test_a_workflow_counts_only_where_nothing_says_more():
    workflow, graph = json.dumps(drawn(GRAPHS["two"])), json.dumps(GRAPHS["plain"])
    both = base.Chunks({"workflow": workflow, "prompt": graph})
    assert dialects.detect(both).name == "ComfyUI"
    text = "pear\nSteps: 20, Sampler: Euler, Seed: 1, Size: 64x48"
    assert dialects.translated(base.Chunks({"workflow": workflow, "parameters": text})) is None
    assert infotext.parse_infotext(dialects.translated_text(workflow))["Denoising strength"] == "0.5"


@pytest.mark.parametrize("tag", [0x010F, 0x0110, 0x010E])
def test_a_workflow_in_a_webp_file_is_read_and_stays_visible(program, tag):
    exif, file = Image.Exif(), io.BytesIO()
    exif[tag] = "workflow:" + json.dumps(drawn(GRAPHS["two"]))
    Image.new("RGB", (96, 72)).save(file, "webp", exif=exif)
    text, items = images.read_info_from_image(Image.open(file))
    assert infotext.parse_infotext(text)["Denoising strength"] == "0.5"
    assert json.loads(items["workflow"]) == drawn(GRAPHS["two"])


def test_what_cannot_be_read_says_what_it_is(program):
    image = Image.new("RGB", (8, 8))
    image.info["workflow"] = json.dumps(drawn({"save": node("SaveImage", filename_prefix="a")}))
    text, items = images.read_info_from_image(image)
    assert (text, items["workflow"]) == (None, image.info["workflow"])
    assert items[images.UNREADABLE].startswith("ComfyUI's page: the graph of ComfyUI holds no sampler")


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("keys", [("prompt",), ("prompt", "workflow"), ("workflow", "prompt")])
def test_an_object_of_both_graphs(as_text, keys):
    graphs = {"prompt": GRAPHS["plain"], "workflow": drawn(GRAPHS["two"])}
    text = json.dumps({key: json.dumps(graphs[key]) if as_text else graphs[key] for key in keys})
    for found in (dialects.translated(base.Chunks({"UserComment": text})), dialects.translated_text(text)):
        said = infotext.parse_infotext(found)
        assert (said["Prompt"], said["Seed"], "Denoising strength" in said) == ("red apple", "7", False)


@pytest.mark.parametrize(
    "workflow",
    [
        {"nodes": [], "links": [], "type": 1},
        {"nodes": None, "links": {}, "type": 1},
        {
            "nodes": [1, {"type": "SaveImage", "id": []}, {"id": 3, "type": 5, "inputs": 6, "mode": {}}],
            "links": [[], {}],
        },
        {
            "nodes": [{"id": 1, "type": "Reroute", "inputs": [{"name": "a", "link": 1}]}],
            "links": [[1, 1, 0, 1, 0, "*"]],
        },
        {
            "nodes": [{"id": 1, "type": "KSampler", "widgets_values": {"steps": []}, "inputs": [{"name": []}]}],
            "links": 0,
        },
    ],
)
def test_damaged_workflows_are_named_and_no_prompt(workflow):
    with pytest.raises(base.Unreadable, match="no sampler"):
        read(workflow)
    assert dialects.translated_text(json.dumps(workflow)) == ""
