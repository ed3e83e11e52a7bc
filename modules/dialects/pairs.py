"""base: programs that write v1.10.1's infotext with lines, keys or values of their own.

Forge and its like need no reader: what they add are further keys.
"""

from __future__ import annotations

import re
from typing import Any

from modules import infotext
from modules.dialects import base
from modules.dialects.base import Chunks, Dialect, Reading

TEXT_CHUNKS = ("parameters", "UserComment", "comment", "stealth")
"""Where these programs put their text."""

JSON_KEYS = ("Civitai resources", "Civitai metadata", "SDCPP", "Hashes")
"""Pairs whose value is bare JSON."""

RESOURCE_TYPES = ("lora", "lycoris", "locon", "dora")
TEMPLATE_LINES = ("Template:", "Negative template:")


def text_in(chunks: Chunks) -> str:
    """Returns the infotext among the chunks."""
    return chunks.get(*TEXT_CHUNKS)


def reading_of(text: str) -> tuple[Reading, dict[str, Any]]:
    """Returns an infotext as it is, and the values of its pairs of bare JSON, which are taken out."""
    lines = text.strip().split("\n")
    lines[-1], values = base.cut_json_values(lines[-1], JSON_KEYS)
    parts = infotext.split_infotext("\n".join(lines))
    parameters = infotext.parse_parameters(parts.parameters)
    for key in [key for key in parameters if key.endswith("-1") and f"{key[:-2]}-2" in parameters]:
        name = key[:-2]
        parameters[name] = f"{parameters.pop(key)}x{parameters.pop(f'{name}-2')}"
    if isinstance(values.get("Hashes"), dict):
        parameters["Hashes"] = values["Hashes"]
    return Reading(parts.prompt, parts.negative_prompt, parameters), values


def retake_sampler(parameters: dict[str, Any], schedule_key: str | None = None) -> None:
    """Puts sampler and schedule into our names."""
    sampler = parameters.pop("Sampler", None)
    schedule = parameters.pop(schedule_key, None) if schedule_key else parameters.get("Schedule type")
    if sampler is not None:
        base.put_sampler(parameters, sampler, schedule)


def last_line(text: str) -> str:
    """Returns the line that holds the pairs."""
    return text.strip().rpartition("\n")[2]


def is_sdnext(chunks: Chunks) -> bool:
    """Whether SD.Next wrote it: it names itself, or spells a key as it alone does."""
    pairs = last_line(text_in(chunks))
    return "App: SD.Next" in pairs or "CLiP-skip:" in pairs


def read_sdnext(chunks: Chunks) -> Reading:
    """Reads SD.Next's text: lines of templates behind the prompts, `CLiP-skip`, a schedule by its class's name."""
    text = text_in(chunks)
    kept = [line for line in text.split("\n") if not line.lstrip().startswith(TEMPLATE_LINES)]
    reading, _ = reading_of("\n".join(kept))
    parameters = reading.parameters
    if "CLiP-skip" in parameters:
        base.put(parameters, "Clip skip", base.number(parameters.pop("CLiP-skip")))
    retake_sampler(parameters)
    for line in text.split("\n"):
        for mark in TEMPLATE_LINES:
            if line.lstrip().startswith(mark):
                base.put(parameters, mark.removesuffix(":"), line.lstrip().removeprefix(mark).strip())
    return reading


def is_civitai(chunks: Chunks) -> bool:
    """Whether it is an export of Civitai."""
    pairs = last_line(text_in(chunks))
    return "Civitai resources:" in pairs or "Civitai metadata:" in pairs


def read_civitai(chunks: Chunks) -> Reading:
    """Reads an export of Civitai: the models are a list of resources in JSON."""
    reading, values = reading_of(text_in(chunks))
    resources = values.get("Civitai resources")
    for resource in resources if isinstance(resources, list) else []:
        if not isinstance(resource, dict):
            continue
        kind, name = str(resource.get("type", "")).lower(), base.text_of(resource.get("modelName"))
        weight = base.number(resource.get("weight"))
        if kind == "checkpoint":
            reading.parameters.setdefault("Model", name)
        elif kind in RESOURCE_TYPES and name:
            reading.networks.append((name, 1 if weight is None else weight))
    retake_sampler(reading.parameters)
    return reading


def is_fooocus_pairs(chunks: Chunks) -> bool:
    """Whether Fooocus wrote it in its scheme "a1111"."""
    return chunks.get("fooocus_scheme", "MakerNote") == "a1111" or "Version: Fooocus" in last_line(text_in(chunks))


def read_fooocus_pairs(chunks: Chunks) -> Reading:
    """Reads Fooocus' scheme "a1111": a schedule of its own key, weights of networks in a list beside their hashes."""
    reading, _ = reading_of(text_in(chunks))
    parameters = reading.parameters
    retake_sampler(parameters, "Scheduler")
    for name, weight in re.findall(r"([^,:]+):\s*(-?[\d.]+)", str(parameters.pop("Lora weights", ""))):
        reading.networks.append((base.stem(name.strip()), base.number(weight) or 0))
    return reading


def is_sdcpp(chunks: Chunks) -> bool:
    """Whether stable-diffusion.cpp wrote it."""
    return "Version: stable-diffusion.cpp" in last_line(text_in(chunks))


def read_sdcpp(chunks: Chunks) -> Reading:
    """Reads stable-diffusion.cpp's text: sampler and schedule in one, and `Hires upscale` that holds a name."""
    reading, _ = reading_of(text_in(chunks))
    parameters = reading.parameters
    retake_sampler(parameters)
    base.put(parameters, "CFG scale", base.number(parameters.get("CFG scale")))
    upscaler, factor = parameters.pop("Hires upscale", None), parameters.pop("Hires scale", None)
    base.put(parameters, "Hires upscaler", upscaler)
    base.put(parameters, "Hires upscale", base.number(factor))
    for name in ("Model", "VAE"):
        if name in parameters:
            parameters[name] = base.stem(parameters[name])
    return reading


DIALECTS = (
    Dialect("Civitai", is_civitai, read_civitai),
    Dialect("stable-diffusion.cpp", is_sdcpp, read_sdcpp),
    Dialect("Fooocus", is_fooocus_pairs, read_fooocus_pairs),
    Dialect("SD.Next", is_sdnext, read_sdnext),
)
