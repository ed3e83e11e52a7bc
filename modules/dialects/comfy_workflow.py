"""base: ComfyUI's other graph, `workflow`, that its page draws: read as the graph that is carried out.

A node's values stand there in a list without names, so those of the nodes in `WIDGETS` can be told, those of others
only where the page wrote the names beside them. What cannot be told is left out: no name is guessed from a place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.dialects import base

CONTROL = "control_after_generate"
"""A value that the page puts behind each seed."""

SIZES = "width height"
WIDGETS: dict[str, str] = {
    "AlignYourStepsScheduler": "model_type steps denoise",
    "BasicGuider": "",
    "BasicScheduler": "scheduler steps denoise",
    "BetaSamplingScheduler": "steps alpha beta",
    "CFGGuider": "cfg",
    "CLIPLoader": "clip_name type",
    "CLIPSetLastLayer": "stop_at_clip_layer",
    "CLIPTextEncode": "text",
    "CLIPTextEncodeFlux": "clip_l t5xxl guidance",
    "CLIPTextEncodeSD3": "clip_l clip_g t5xxl empty_padding",
    "CLIPTextEncodeSDXL": f"{SIZES} crop_w crop_h target_width target_height text_g text_l",
    "CLIPTextEncodeSDXLRefiner": f"ascore {SIZES} text",
    "CheckpointLoader": "config_name ckpt_name",
    "CheckpointLoaderSimple": "ckpt_name",
    "ConditioningAverage": "conditioning_to_strength",
    "ConditioningCombine": "",
    "ConditioningConcat": "",
    "ConditioningZeroOut": "",
    "ControlNetApply": "strength",
    "ControlNetApplyAdvanced": "strength start_percent end_percent",
    "DualCLIPLoader": "clip_name1 clip_name2 type",
    "EmptyLatentImage": f"{SIZES} batch_size",
    "EmptySD3LatentImage": f"{SIZES} batch_size",
    "ExponentialScheduler": "steps sigma_max sigma_min",
    "FluxGuidance": "guidance",
    "ImageScale": f"upscale_method {SIZES} crop",
    "ImageScaleBy": "upscale_method scale_by",
    "ImageScaleToTotalPixels": "upscale_method megapixels",
    "ImageUpscaleWithModel": "",
    "KSampler": f"seed {CONTROL} steps cfg sampler_name scheduler denoise",
    "KSamplerAdvanced": f"add_noise noise_seed {CONTROL} steps cfg sampler_name scheduler start_at_step end_at_step "
    "return_with_leftover_noise",
    "KSamplerSelect": "sampler_name",
    "KarrasScheduler": "steps sigma_max sigma_min rho",
    "LatentUpscale": f"upscale_method {SIZES} crop",
    "LatentUpscaleBy": "upscale_method scale_by",
    "LoadImage": "image",
    "LoraLoader": "lora_name strength_model strength_clip",
    "LoraLoaderModelOnly": "lora_name strength_model",
    "PolyexponentialScheduler": "steps sigma_max sigma_min rho",
    "PreviewImage": "",
    "PrimitiveFloat": "value",
    "PrimitiveInt": f"value {CONTROL}",
    "PrimitiveString": "value",
    "PrimitiveStringMultiline": "value",
    "RandomNoise": f"noise_seed {CONTROL}",
    "SDTurboScheduler": "steps denoise",
    "SamplerCustom": f"add_noise noise_seed {CONTROL} cfg",
    "SamplerCustomAdvanced": "",
    "SaveImage": "filename_prefix",
    "SplitSigmas": "step",
    "StringConcatenate": "string_a string_b delimiter",
    "UNETLoader": "unet_name weight_dtype",
    "UnetLoaderGGUF": "unet_name",
    "UpscaleModelLoader": "model_name",
    "VAEDecode": "",
    "VAEDecodeTiled": "tile_size",
    "VAEEncode": "",
    "VAELoader": "vae_name",
    "unCLIPCheckpointLoader": "ckpt_name",
}
"""Type of a node -> the names of its values in their order; some versions have further ones at the end."""

NUMBERS = (
    *("seed", "noise_seed", "steps", "cfg", "denoise", "start_at_step", "guidance", "width", "height", "batch_size"),
    *("strength_model", "scale_by", "stop_at_clip_layer"),
)
TEXTS = (
    *("text", "clip_l", "clip_g", "t5xxl", "text_g", "text_l", "sampler_name", "scheduler"),
    *("ckpt_name", "unet_name", "lora_name", "vae_name"),
)
"""Names whose values are of one type; a node of another version, whose values are others, is told by that."""

MUTED, BYPASSED = 2, 4
MAX_STEPS = 100
"""Nodes that a link may be handed through."""

SAMPLES = ("LATENT", "IMAGE")


def is_workflow(text: str) -> bool:
    """Tells whether a text is a graph as ComfyUI's page draws it, or an object with one in it."""
    return text.lstrip()[:1] == "{" and all(word in text for word in ("nodes", "links", "type"))


def graph_of(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the graph that is carried out: id -> {"class_type", "inputs"}."""
    return Workflow(workflow).graph()


def objects(value: Any) -> list[dict[str, Any]]:
    """Returns the objects of a list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


class Workflow:
    """The nodes and links of a drawn graph. What is damaged is left out."""

    def __init__(self, workflow: Mapping[str, Any]):
        self.nodes = {str(node.get("id")): node for node in objects(workflow.get("nodes"))}
        links = workflow.get("links")
        self.links = dict(filter(None, map(source_of, links if isinstance(links, list) else [])))
        self.named = {  # nodes of one extension, whose input others take by its name
            first_value(node): node for node in self.nodes.values() if node.get("type") == "SetNode"
        }

    def graph(self) -> dict[str, Any]:
        """Returns all nodes that are switched on."""
        return {
            name: {"class_type": base.text_of(node.get("type")), "inputs": self.inputs(node)}
            for name, node in self.nodes.items()
            if node.get("mode") not in (MUTED, BYPASSED)
        }

    def inputs(self, node: dict[str, Any]) -> dict[str, Any]:
        """Returns the values of a node under their names, and its links.

        Of a node that is not known, texts are no inputs: what it makes of them cannot be told. If it may be a sampler,
        it is one of an unknown number of steps.
        """
        values = widget_values(node)
        linked = objects(node.get("inputs"))
        if values is None:
            linked = [entry for entry in linked if entry.get("type") != "STRING"]
            values = {"steps": None} if makes_image(node) else {}
        links = {base.text_of(entry.get("name")): self.target(entry.get("link")) for entry in linked}
        return values | {key: value for key, value in links.items() if value is not None}

    def target(self, link: Any) -> Any:
        """Returns what a link leads to, [id, output] or a value, past nodes that only hand on; None for nothing."""
        for _ in range(MAX_STEPS):
            name, slot = self.links.get(link, ("", 0)) if isinstance(link, int) else ("", 0)
            node = self.nodes.get(name)
            if node is None or node.get("mode") == MUTED:
                return None
            kind = base.text_of(node.get("type"))
            if kind == "PrimitiveNode":
                value = first_value(node)
                return None if isinstance(value, list | dict) else value
            if kind == "GetNode":
                node = self.named.get(first_value(node), {})
            elif not kind.startswith("Reroute") and kind != "SetNode" and node.get("mode") != BYPASSED:
                return [name, slot]
            link = handed_on(node, slot)
        return None


def source_of(link: Any) -> tuple[int, tuple[str, int]] | None:
    """Returns (number, (node, output)) of a link, a list or an object; None for what is none."""
    if isinstance(link, dict):
        link = [link.get("id"), link.get("origin_id"), link.get("origin_slot")]
    if not isinstance(link, list) or len(link) < 3 or not isinstance(link[0], int) or not isinstance(link[2], int):
        return None
    return link[0], (str(link[1]), link[2])


def handed_on(node: dict[str, Any], slot: int) -> Any:
    """Returns the link that comes out of an output of a node that is passed by: the input there if it is of the same
    type, else the first that is.
    """
    inputs, outputs = objects(node.get("inputs")), objects(node.get("outputs"))
    kind = outputs[slot].get("type") if 0 <= slot < len(outputs) else None
    candidates = inputs[slot : slot + 1] + inputs
    if len(inputs) == 1 and len(outputs) <= 1:
        return inputs[0].get("link")
    return next((entry.get("link") for entry in candidates if entry.get("type") == kind), None)


def first_value(node: dict[str, Any]) -> Any:
    """Returns the first value of a node."""
    values = node.get("widgets_values")
    value = values[0] if isinstance(values, list) and values else None
    return value if isinstance(value, str | int | float) else None


def widget_values(node: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the values of a node by name, None where their names cannot be told."""
    values = node.get("widgets_values")
    inputs = objects(node.get("inputs"))
    if not isinstance(values, dict):
        names = names_of(node, inputs, values := values if isinstance(values, list) else [])
        values = None if names is None else dict(zip(names, values, strict=False))
    linked = {base.text_of(entry.get("name")) for entry in inputs if entry.get("link") is not None}
    return None if values is None else checked({key: value for key, value in values.items() if key not in linked})


def names_of(node: dict[str, Any], inputs: list[dict[str, Any]], values: list[Any]) -> list[str] | None:
    """Returns the names of a node's values in their order, None where they cannot be told."""
    known = WIDGETS.get(base.text_of(node.get("type")))
    if known is not None:
        names = known.split()
        return names if len(values) >= len(names) else None
    written = [entry["widget"].get("name") for entry in inputs if is_object(entry.get("widget"))]
    are_names = len(written) == len(values) and all(isinstance(name, str) for name in written)
    return written if are_names else None


def is_object(value: Any) -> bool:
    """Tells whether a value is an object of JSON."""
    return isinstance(value, dict)


def checked(values: dict[str, Any]) -> dict[str, Any] | None:
    """Returns values if they are of the types that their names have, else None."""
    for key, value in values.items():
        if (key in NUMBERS and base.number(value) is None) or (key in TEXTS and not isinstance(value, str)):
            return None
    return values


def makes_image(node: dict[str, Any]) -> bool:
    """Tells whether a node may sample: prompts, a guider or all in one go in, and latents or images come out."""
    names = {base.text_of(entry.get("name")) for entry in objects(node.get("inputs"))}
    kinds = {entry.get("type") for entry in objects(node.get("outputs")) if isinstance(entry.get("type"), str)}
    is_guided = "positive" in names or "guider" in names or any("pipe" in name for name in names)
    return is_guided and bool(kinds & set(SAMPLES)) and "CONDITIONING" not in kinds
