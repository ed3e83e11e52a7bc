"""base: ComfyUI: the graph an image was made by, read backwards from the node that saved it.

A graph is an object {id: {"class_type", "inputs"}}; an input is a value, or a link [id, output] to another node. The
last sampler before the saved image is found first; its links lead to prompts, model, networks and size. Nodes that are
not known are passed through along inputs of the same name, so that most of other people's nodes do no harm.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from modules.dialects import base
from modules.dialects.base import Chunks, Dialect, Reading

WEBP_PROMPT = "prompt:"
"""What stands before the graph in the EXIF tag Model of WebP files."""

SEEDS = ("seed", "noise_seed")
PROMPT_TEXTS = ("text", "text_g", "t5xxl", "prompt", "positive", "string", "value")
"""Inputs that hold the text of a prompt, the one that says most first."""

LITERALS = ("value", "int", "float", "number", "seed", "noise_seed", "string", "text", "Number", "Value", "STRING")
"""Inputs of nodes that only give a value."""

MODEL_FILES = ("ckpt_name", "unet_name", "base_ckpt_name", "model_name", "gguf_name")
KARRAS_NODES = {
    "KarrasScheduler": "karras",
    "ExponentialScheduler": "exponential",
    "PolyexponentialScheduler": "polyexponential",
    "AlignYourStepsScheduler": "ays",
    "SDTurboScheduler": "sgm_uniform",
}
"""Nodes that are a schedule -> its name."""

MAX_NODES = 10_000


class Graph:
    """The nodes of a graph, and ways along their links. Links to nodes that are not there lead nowhere."""

    def __init__(self, nodes: Mapping[str, Any]):
        self.nodes = {
            str(name): node
            for name, node in list(nodes.items())[:MAX_NODES]
            if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        }

    def inputs(self, name: str) -> dict[str, Any]:
        """Returns the inputs of a node."""
        return self.nodes[name]["inputs"]

    def class_of(self, name: str) -> str:
        """Returns the type of a node."""
        return str(self.nodes[name].get("class_type", ""))

    def target(self, value: Any) -> str | None:
        """Returns the node that an input is linked to, None for a value."""
        is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
        return str(value[0]) if is_link and str(value[0]) in self.nodes else None

    def literal(self, value: Any) -> Any:
        """Returns the value of an input, also where a node gives it; None if it cannot be told."""
        for _ in range(len(self.nodes) + 1):
            name = self.target(value)
            if name is None:
                return None if isinstance(value, list) else value
            inputs = self.inputs(name)
            value = next((inputs[key] for key in LITERALS if key in inputs), None)
        return None

    def upstream(self, name: str | None, *along: str) -> Iterator[str]:
        """Yields a node and all that it is made from, the nearest first. along: only through inputs of these names."""
        waiting, seen = deque([name] if name in self.nodes else []), {name}
        while waiting:
            current = waiting.popleft()
            yield current
            for key, value in self.inputs(current).items():
                found = self.target(value)
                if found is not None and found not in seen and (not along or key in along):
                    seen.add(found)
                    waiting.append(found)

    def is_sampler(self, name: str) -> bool:
        """Whether a node is one that samples: it has steps or sigmas, and prompts or a guider."""
        inputs = self.inputs(name)
        return ("steps" in inputs or "sigmas" in inputs) and ("positive" in inputs or "guider" in inputs)

    def savers(self) -> list[str]:
        """Returns the nodes that save or show images, those that save first."""
        found = [name for name in self.nodes if re.search("save|preview", self.class_of(name), re.IGNORECASE)]
        return sorted(found, key=lambda name: "preview" in self.class_of(name).lower())

    def last_sampler(self) -> str | None:
        """Returns the last sampler before the saved image, in a graph without such a node the last one of all."""
        for saver in self.savers():
            for name in self.upstream(saver):
                if self.is_sampler(name):
                    return name
        samplers = [name for name in self.nodes if self.is_sampler(name)]
        used = {found for name in samplers for found in list(self.upstream(name))[1:]}
        return next((name for name in reversed(samplers) if name not in used), None)


def is_comfy(chunks: Chunks) -> bool:
    """Whether there is a graph of ComfyUI among the chunks."""
    return base.is_json_object(graph_text(chunks), "class_type", "inputs")


def graph_text(chunks: Chunks) -> str:
    """Returns the graph as text, from a PNG or a WebP file."""
    text = chunks.get("prompt")
    if text:
        return text
    tags = (chunks.get(tag) for tag in ("Model", "Make"))
    return next((tag.removeprefix(WEBP_PROMPT) for tag in tags if tag.startswith(WEBP_PROMPT)), "")


def read_comfy(chunks: Chunks) -> Reading:
    """Reads the graph. Raises Unreadable for one that is damaged, or without a sampler."""
    graph = Graph(base.read_json(graph_text(chunks), "the graph of ComfyUI"))
    sampler = graph.last_sampler()
    if sampler is None:
        raise base.Unreadable("the graph of ComfyUI holds no sampler before an image that is saved")
    parts = {name: graph.inputs(sampler).get(name) for name in ("guider", "sampler", "sigmas", "noise")}
    inputs = dict(graph.inputs(sampler))
    for link in parts.values():
        part = graph.target(link)
        if part is not None:
            inputs = graph.inputs(part) | inputs
    reading = Reading(
        prompt_of(graph, inputs.get("positive", inputs.get("conditioning")), "positive"),
        prompt_of(graph, inputs.get("negative"), "negative"),
    )
    put_sampling(graph, reading.parameters, inputs, graph.target(parts["sigmas"]))
    put_latent(graph, reading.parameters, inputs.get("latent_image"))
    put_models(graph, reading, inputs, sampler)
    return reading


def put_sampling(graph: Graph, parameters: dict[str, Any], inputs: Mapping[str, Any], sigmas: str | None) -> None:
    """Sets steps, sampler, schedule, scale, seed and strength. sigmas: the node of the schedule, if it is one."""
    values = {
        key: graph.literal(inputs.get(key))
        for key in ("steps", "sampler_name", "scheduler", "cfg", "guidance", "denoise", *SEEDS)
    }
    schedule = values["scheduler"]
    if schedule is None and sigmas is not None:
        schedule = KARRAS_NODES.get(graph.class_of(sigmas))
    base.put_numbers(parameters, values, {"Steps": "steps"})
    base.put_sampler(parameters, values["sampler_name"], schedule)
    base.put_numbers(parameters, values, {"CFG scale": "cfg"})
    seed = next((values[key] for key in SEEDS if base.number(values[key]) is not None), None)
    base.put(parameters, "Seed", base.whole(seed))
    strength = base.number(values["denoise"])
    base.put(parameters, "Denoising strength", strength if strength is not None and strength < 1 else None)


def put_latent(graph: Graph, parameters: dict[str, Any], link: Any) -> None:
    """Sets the size, from the nearest node before the sampler that tells one."""
    factor = 1.0
    for name in graph.upstream(graph.target(link)):
        inputs = graph.inputs(name)
        width, height = (base.number(graph.literal(inputs.get(key))) for key in ("width", "height"))
        if width and height:
            base.put_size(parameters, round(width * factor), round(height * factor))
            count = base.whole(graph.literal(inputs.get("batch_size")))
            base.put(parameters, "Batch size", count if count is not None and count > 1 else None)
            return
        factor *= base.number(graph.literal(inputs.get("scale_by"))) or 1
        if graph.is_sampler(name) and graph.target(inputs.get("latent_image")) is None:
            return


def put_models(graph: Graph, reading: Reading, inputs: Mapping[str, Any], sampler: str) -> None:
    """Sets checkpoint, networks, VAE and clip skip."""
    networks: list[tuple[str, float]] = []
    for name in graph.upstream(graph.target(inputs.get("model")) or sampler, "model", "lora_stack"):
        node = graph.inputs(name)
        networks[:0] = networks_of(graph, node)
        file = next(
            (graph.literal(node[key]) for key in MODEL_FILES if isinstance(graph.literal(node.get(key)), str)), ""
        )
        if file and name != sampler:
            reading.parameters.setdefault("Model", base.stem(file))
    reading.networks = networks
    for name in graph.upstream(graph.target(inputs.get("positive"))):
        layer = base.whole(graph.literal(graph.inputs(name).get("stop_at_clip_layer")))
        if layer and layer < -1:
            base.put(reading.parameters, "Clip skip", -layer)
            break
    for name in graph.nodes:
        vae = graph.literal(graph.inputs(name).get("vae_name"))
        if graph.class_of(name) == "VAELoader" and isinstance(vae, str):
            base.put(reading.parameters, "VAE", base.stem(vae))


def networks_of(graph: Graph, node: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Returns the networks that a node adds: one by name, or several in inputs of objects."""
    found = []
    name = graph.literal(node.get("lora_name"))
    if isinstance(name, str) and name != "None":
        weight = base.number(graph.literal(node.get("strength_model", node.get("lora_model_strength", 1))))
        found.append((base.stem(name), 1 if weight is None else weight))
    for entry in node.values():
        if isinstance(entry, dict) and isinstance(entry.get("lora"), str) and entry.get("on", True):
            weight = base.number(entry.get("strength", 1))
            found.append((base.stem(entry["lora"]), 1 if weight is None else weight))
    return found


def prompt_of(graph: Graph, link: Any, role: str) -> str:
    """Returns the text that a condition was made of; texts that were joined stand on lines of their own.

    role: "positive" or "negative": which input to follow where a node has both.
    """
    texts: list[str] = []
    waiting, seen = [graph.target(link)], set()
    while waiting:
        name = waiting.pop(0)
        if name is None or name in seen:
            continue
        seen.add(name)
        inputs = graph.inputs(name)
        own = next((text for text in texts_of(graph, inputs, role) if text), "")
        conditions = [graph.target(inputs[key]) for key in inputs if key.startswith("conditioning") or key == role]
        if own and not any(conditions):
            texts.append(own)
        waiting = [found for found in conditions if found] + waiting
    return "\n".join(dict.fromkeys(texts))


def texts_of(graph: Graph, inputs: Mapping[str, Any], role: str) -> Iterator[str]:
    """Yields the texts a node holds for a role, the most telling first."""
    for key in PROMPT_TEXTS:
        if key in inputs and not (key == "positive" and role == "negative"):
            yield base.text_of(graph.literal(inputs[key]))
    if role in inputs:
        yield base.text_of(inputs[role])


DIALECTS = (Dialect("ComfyUI", is_comfy, read_comfy),)
