"""base: ComfyUI: the graph an image was made by, read backwards from the node that saved it.

The last sampler before the saved image is found first; its links lead to prompts, model, networks and size. Nodes that
are not known are passed through along inputs of the same name, so that most of other people's nodes do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from modules import infotext
from modules.dialects import base, comfy_workflow
from modules.dialects.base import Chunks, Dialect, Reading
from modules.dialects.comfy_graph import SEEDS, Graph

MODEL_FILES = ("ckpt_name", "unet_name", "base_ckpt_name", "model_name", "gguf_name")
NO_FILE = ("", "None", "Baked VAE")
LATENTS = ("latent_image", "samples", "latent", "image", "upscaled_image", "pixels")
WIDTHS, HEIGHTS = ("width", "empty_latent_width"), ("height", "empty_latent_height")

PRESETS = {"aspect_ratio", "dimensions", "preset", "resolution", "swap_dimensions"}
"""Inputs of a node that decide on the size, so that its width and height may not be what comes out."""

NOT_A_MODEL = re.compile("clip|vae|positive|negative|cond|latent|samples|image|pixels|mask|control|guid|sigmas|noise")
"""Inputs that lead away from the model."""

SCHEDULE_NODES = {
    "KarrasScheduler": "karras",
    "ExponentialScheduler": "exponential",
    "PolyexponentialScheduler": "polyexponential",
    "AlignYourStepsScheduler": "ays",
}
"""Nodes that are a schedule -> its name."""

SAMPLER_NODES = {
    "SamplerEulerAncestral": "euler_ancestral",
    "SamplerDPMPP_2M_SDE": "dpmpp_2m_sde",
    "SamplerDPMPP_3M_SDE": "dpmpp_3m_sde",
    "SamplerDPMPP_SDE": "dpmpp_sde",
    "SamplerDPMPP_2S_Ancestral": "dpmpp_2s_ancestral",
    "SamplerDPMAdaptative": "dpm_adaptive",
    "SamplerLMS": "lms",
}
"""Nodes that are a sampler -> its name."""


def graph_text(chunks: Chunks, name: str, is_graph: Callable[[str], bool]) -> str:
    """Returns the text that holds a graph, "prompt" or "workflow": the chunk of this name, or one of any program."""
    texts = (chunks.get(name), *(chunks.get(each) for each in base.TEXT_CHUNKS))
    return next((text for text in texts if is_graph(text)), "")


def is_graph(text: str) -> bool:
    """Tells whether a text is a graph as it is carried out, or an object with one in it."""
    return text.lstrip()[:1] == "{" and "class_type" in text and "inputs" in text


def unwrapped(source: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the graph of an object that has it under a name, as such or as text, or in a list; else the object."""
    inner = source.get(name)
    if isinstance(inner, list):
        inner = next((each for each in inner if isinstance(each, dict) and each), None)
    if isinstance(inner, str) and inner.lstrip()[:1] == "{":
        inner = base.read_json(inner, "the graph of ComfyUI")
    return inner if isinstance(inner, dict) and "class_type" not in inner else source


def has_infotext(chunks: Chunks) -> bool:
    """Tells whether there is an infotext too, which some nodes write."""
    text = chunks.get("parameters", "UserComment")
    return text.lstrip()[:1] != "{" and bool(infotext.split_infotext(text).parameters)


def is_comfy(chunks: Chunks) -> bool:
    """Tells whether there is a graph of ComfyUI among the chunks, and no infotext."""
    return bool(graph_text(chunks, "prompt", is_graph)) and not has_infotext(chunks)


def read_comfy(chunks: Chunks) -> Reading:
    """Reads the graph. Raises Unreadable for one that is damaged, or without a sampler."""
    nodes = base.read_json(graph_text(chunks, "prompt", is_graph), "the graph of ComfyUI")
    return read_graph(Graph(unwrapped(nodes, "prompt")), chunks.size)


def is_drawn(chunks: Chunks) -> bool:
    """Tells whether there is the graph that ComfyUI's page draws, and nothing that says more."""
    return bool(graph_text(chunks, "workflow", comfy_workflow.is_workflow)) and not has_infotext(chunks)


def read_drawn(chunks: Chunks) -> Reading:
    """Reads the graph that the page draws."""
    text = graph_text(chunks, "workflow", comfy_workflow.is_workflow)
    workflow = unwrapped(base.read_json(text, "the workflow of ComfyUI"), "workflow")
    return read_graph(Graph(comfy_workflow.graph_of(workflow)), chunks.size)


def read_graph(graph: Graph, image_size: tuple[int, int]) -> Reading:
    """Reads a graph. Of several saved images the one of this size counts."""
    readings = [read_sampler(graph, sampler, saver) for saver, sampler in graph.last_samplers()]
    if not readings:
        raise base.Unreadable("the graph of ComfyUI holds no sampler before an image that is saved")
    size = f"{image_size[0]}x{image_size[1]}"
    return next((reading for reading in readings if reading.parameters.get("Size") == size), readings[0])


def read_sampler(graph: Graph, sampler: str, saver: str | None) -> Reading:
    """Reads what one sampler did. One that only goes on where another stopped is the refiner of that one."""
    earlier = graph.continued(sampler)
    inputs = all_inputs(graph, earlier or sampler)
    positive = next((inputs[key] for key in ("positive", "conditioning", "cond1") if key in inputs), None)
    conditions = {"positive": positive, "negative": inputs.get("negative")}
    pipe = graph.pipe(inputs)
    reading = Reading(*(graph.prompt(conditions[role] or pipe, role) for role in ("positive", "negative")))
    put_sampling(graph, reading.parameters, inputs)
    put_latent(graph, reading.parameters, inputs)
    put_models(graph, reading, inputs, conditions["positive"] or pipe)
    if earlier is not None:
        put_refiner(graph, reading.parameters, sampler)
    put_vae(graph, reading.parameters, saver)
    return reading


def all_inputs(graph: Graph, sampler: str) -> dict[str, Any]:
    """Returns the inputs of a sampler with those of the nodes it is put together from; its own count first."""
    inputs = dict(graph.inputs(sampler))
    for part in ("guider", "sampler", "noise"):
        name = graph.target(inputs.get(part))
        if name is not None:
            inputs = graph.inputs(name) | inputs
            kind = graph.class_of(name)
            if part == "sampler":
                inputs.setdefault("sampler_name", SAMPLER_NODES.get(kind, kind))
            if kind == "BasicGuider":
                inputs.setdefault("cfg", 1)
    sigmas = graph.target(inputs.get("sigmas"))
    for name in graph.upstream(sigmas, lambda key: key == "sigmas"):
        inputs = graph.inputs(name) | inputs
        if "steps" in graph.inputs(name):
            kind = graph.class_of(name)
            inputs.setdefault("scheduler", SCHEDULE_NODES.get(kind, kind))
    return inputs


def put_sampling(graph: Graph, parameters: dict[str, Any], inputs: Mapping[str, Any]) -> None:
    """Sets steps, sampler, schedule, scale, seed and strength."""
    names = ("steps", "sampler_name", "scheduler", "cfg", "denoise", "start_at_step", *SEEDS)
    values = {name: graph.literal(inputs.get(name), name) for name in names}
    base.put_numbers(parameters, values, {"Steps": "steps"})
    base.put_sampler(parameters, values["sampler_name"], values["scheduler"])
    base.put_numbers(parameters, values, {"CFG scale": "cfg"})
    seed = next((values[key] for key in SEEDS if base.number(values[key]) is not None), None)
    base.put_numbers(parameters, {"seed": seed}, {"Seed": "seed"})
    guidance = graph.first_value(inputs.get("positive", inputs.get("conditioning")), "guidance")
    base.put(parameters, "Distilled CFG Scale", base.number(guidance))
    steps, start = base.number(values["steps"]), base.number(values["start_at_step"])
    strength = base.number(values["denoise"])
    if strength is None and steps and start:
        strength = round(1 - start / steps, 4)
    base.put(parameters, "Denoising strength", strength if strength is not None and 0 <= strength < 1 else None)


def put_latent(graph: Graph, parameters: dict[str, Any], inputs: Mapping[str, Any]) -> None:
    """Sets the size, from the nearest node before the sampler that tells one; none after a model that enlarges."""
    factor = base.number(graph.literal(inputs.get("upscale_by"), "upscale_by")) or 1
    links = [inputs[key] for key in LATENTS if graph.target(inputs.get(key)) is not None]
    start = links[0] if links else graph.pipe(inputs)
    for name in graph.upstream(graph.target(start), lambda key: key in LATENTS or graph.is_pipe(key)):
        node = graph.inputs(name)
        if "upscale_model" in node:
            return
        width, height = (side_of(graph, node, keys) for keys in (WIDTHS, HEIGHTS))
        if width and height:
            base.put_size(parameters, round(width * factor), round(height * factor))
            put_batch(graph, parameters, node)
            return
        if width or height or "megapixels" in node:  # the other side follows from what came before
            return
        factor *= base.number(graph.literal(node.get("scale_by"), "scale_by")) or 1


def put_batch(graph: Graph, parameters: dict[str, Any], node: Mapping[str, Any]) -> None:
    """Sets the batch size that a node of latents tells, unless it is one."""
    count = base.whole(graph.literal(node.get("batch_size"), "batch_size"))
    base.put(parameters, "Batch size", count if count is not None and count > 1 else None)


def side_of(graph: Graph, node: Mapping[str, Any], keys: tuple[str, ...]) -> float | int | None:
    """Returns width or height that a node gives, None if it gives none."""
    key = next((key for key in keys if key in node), None)
    source = graph.target(node.get(key)) if key is not None else None
    if key is None or (source is not None and PRESETS & graph.inputs(source).keys()):
        return None
    return base.number(graph.literal(node[key], key))


def put_models(graph: Graph, reading: Reading, inputs: Mapping[str, Any], condition: Any) -> None:
    """Sets checkpoint, networks and clip skip."""
    files: list[str] = []
    networks: list[tuple[str, float]] = []
    for name in graph.upstream(graph.target(inputs.get("model") or graph.pipe(inputs)), leads_to_model):
        node = graph.inputs(name)
        networks[:0] = networks_of(graph, node)
        files += files_of(graph, node, MODEL_FILES)
    reading.networks = list(dict.fromkeys(networks))
    base.put(reading.parameters, "Model", " + ".join(dict.fromkeys(files)))
    for key in ("stop_at_clip_layer", "clip_skip"):
        layer = base.whole(graph.first_value(condition, key))
        if layer and layer < -1:
            base.put(reading.parameters, "Clip skip", -layer)


def leads_to_model(key: str) -> bool:
    """Tells whether an input of this name may lead to the model."""
    return not NOT_A_MODEL.search(key.lower())


def files_of(graph: Graph, node: Mapping[str, Any], keys: tuple[str, ...]) -> list[str]:
    """Returns the model file that a node names under the first of these keys, without folder and ending."""
    names = (graph.literal(node[key], key) for key in keys if key in node)
    return [base.stem(name) for name in names if isinstance(name, str) and name not in NO_FILE][:1]


def put_refiner(graph: Graph, parameters: dict[str, Any], sampler: str) -> None:
    """Sets the refiner: a sampler that goes on with another model than the one before it."""
    inputs = graph.inputs(sampler)
    found = Reading()
    put_models(graph, found, inputs, None)
    steps, start = (base.number(graph.literal(inputs.get(key), key)) for key in ("steps", "start_at_step"))
    model = found.parameters.get("Model")
    if model and model != parameters.get("Model"):
        parameters["Refiner"] = model
        base.put(parameters, "Refiner switch at", round(start / steps, 4) if start and steps else None)


def put_vae(graph: Graph, parameters: dict[str, Any], saver: str | None) -> None:
    """Sets the VAE that decoded the saved image, unless it is that of the checkpoint."""
    for name in graph.upstream(saver):
        node = graph.inputs(name)
        if "vae" in node and "samples" in node:
            loader = graph.target(node["vae"])
            files = files_of(graph, graph.inputs(loader), ("vae_name",)) if loader is not None else []
            base.put(parameters, "VAE", files[0] if files else None)
            return


def networks_of(graph: Graph, node: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Returns the networks that a node adds: one by name, several by numbered names, or objects."""
    found = []
    name = graph.literal(node.get("lora_name"), "lora_name")
    weight = node.get("strength_model", node.get("lora_model_strength", node.get("strength")))
    found.append((name, graph.literal(weight, "strength_model")))
    count = base.whole(node.get("lora_count"))
    for key, value in node.items():
        if isinstance(value, dict) and value.get("on", True):
            found.append((value.get("lora"), value.get("strength")))
        match = re.fullmatch(r"lora(?:_name)?_(\d+)", key)
        if match and isinstance(value, str) and (count is None or int(match[1]) <= count):
            found.append((value, numbered_weight(graph, node, match[1])))
    pairs = ((name, 1 if weight is None else base.number(weight)) for name, weight in found)
    return [(base.stem(name), weight) for name, weight in pairs if is_network(name) and weight is not None]


def is_network(name: Any) -> bool:
    """Tells whether a value names the file of a network."""
    return isinstance(name, str) and name not in NO_FILE


def numbered_weight(graph: Graph, node: Mapping[str, Any], number: str) -> Any:
    """Returns the weight of a numbered network, no number where the node has it switched off."""
    if node.get(f"switch_{number}") == "Off":
        return "off"
    keys = [f"model_str_{number}", f"lora_wt_{number}", f"model_weight_{number}", f"strength_{number}"]
    if node.get("input_mode") == "simple":
        keys.reverse()
    return next((graph.literal(node[key], key) for key in keys if key in node), None)


DIALECTS = (Dialect("ComfyUI", is_comfy, read_comfy), Dialect("ComfyUI's page", is_drawn, read_drawn))
