"""base: programs that write v1.10.1's infotext with lines, keys or values of their own.

Forge and its like need no reader: what they add are further keys.
"""

from __future__ import annotations

import re
from typing import Any

from modules import infotext
from modules.dialects import base
from modules.dialects.base import TEXT_CHUNKS, Chunks, Dialect, Reading, Wanted, model_name

JSON_KEYS = ("Civitai resources", "Civitai metadata", "SDCPP", "Hashes")
"""Pairs whose value is bare JSON."""

RESOURCE_TYPES = ("lora", "lycoris", "locon", "dora")
TEMPLATE_LINES = ("Template:", "Negative template:")


def text_in(chunks: Chunks) -> str:
    """Returns the infotext among the chunks."""
    return chunks.get(*TEXT_CHUNKS)


def reading_of(text: str) -> tuple[Reading, dict[str, Any]]:
    """Returns an infotext as it is, and the values of its pairs of bare JSON, which are taken out."""
    lines = lines_of(text)
    lines[-1], values = base.cut_json_values(lines[-1], JSON_KEYS)
    parts = infotext.split_infotext("\n".join(lines))
    parameters: dict[str, Any] = infotext.parse_parameters(parts.parameters)
    for key in [key for key in parameters if key.endswith("-1") and f"{key[:-2]}-2" in parameters]:
        name = key[:-2]
        parameters[name] = f"{parameters.pop(key)}x{parameters.pop(f'{name}-2')}"
    if isinstance(values.get("Hashes"), dict):
        parameters["Hashes"] = values["Hashes"]
    return Reading(parts.prompt, parts.negative_prompt, parameters), values


re_pairs_start = re.compile(r"\s(?=Steps: \d+, \w)")
re_negative_start = re.compile(rf"\s(?={infotext.NEGATIVE_PROMPT_MARK})")


def lines_of(text: str) -> list[str]:
    """Returns the lines of an infotext, also of one that has lost its line breaks: the pairs begin with "Steps"."""
    lines = text.strip().split("\n")
    start = None if lines[-1].startswith("Steps: ") else re_pairs_start.search(lines[-1])
    if start is not None:
        lines[-1:] = [lines[-1][: start.start()], lines[-1][start.end() :]]
        lines[-2:-1] = re_negative_start.split(lines[-2], maxsplit=1)
    return lines


def retake_sampler(parameters: dict[str, Any], schedule_key: str | None = None) -> None:
    """Puts sampler and schedule into our names."""
    sampler = parameters.pop("Sampler", None)
    schedule = parameters.pop(schedule_key, None) if schedule_key else parameters.pop("Schedule type", None)
    base.put_sampler(parameters, sampler, schedule)


def rename(parameters: dict[str, Any], names: dict[str, str]) -> None:
    """Gives pairs the names they have here; a pair that has the name already stays."""
    for name, ours in names.items():
        if name in parameters:
            value = parameters.pop(name)
            parameters.setdefault(ours, value)


def retake_files(parameters: dict[str, Any], *names: str) -> None:
    """Names model files without folder and ending, and drops the words that stand for none."""
    for name in names:
        if name in parameters:
            base.put(parameters, name, model_name(str(parameters.pop(name))))


def last_line(text: str) -> str:
    """Returns the line that holds the pairs."""
    return text.strip().rpartition("\n")[2]


SDNEXT_NAMES = {
    "CLiP-skip": "Clip skip",
    "Clip-skip": "Clip skip",
    "Variation strength": "Variation seed strength",
    "HiRes upscaler": "Hires upscaler",
    "HiRes scale": "Hires upscale",
    "HiRes upscale": "Hires upscale",
    "HiRes steps": "Hires steps",
    "HiRes strength": "Denoising strength",
    "Hires strength": "Denoising strength",
    "HiRes size": "Hires resize",
    "Hires size": "Hires resize",
    "Refiner start": "Refiner switch at",
    "Version": "SD-Next version",
    "App": "Program",
}
"""SD.Next's keys -> ours. Its version is a hash, which may look like an old version of v1.10.1. A translation does not
name the program as the program does, so that it is not translated again.
"""


def is_sdnext(chunks: Chunks) -> bool:
    """Tells whether SD.Next wrote it: it names itself, or spells a key as it alone does."""
    pairs = last_line(text_in(chunks))
    return "App: SD.Next" in pairs or "CLiP-skip:" in pairs


def without_templates(text: str) -> tuple[str, dict[str, str]]:
    """Returns a text without SD.Next's templates, and them by name. They stand between the prompts and the pairs."""
    *lines, pairs = text.strip().split("\n")
    kept: list[str] = []
    templates: dict[str, list[str]] = {}
    current = kept
    for line in lines:
        mark = next((mark for mark in TEMPLATE_LINES if line.lstrip().startswith(mark)), None)
        if mark is not None:
            current = templates.setdefault(mark.removesuffix(":"), [])
            line = line.lstrip().removeprefix(mark)
        current.append(line.strip())
    return "\n".join([*kept, pairs]), {name: "\n".join(lines) for name, lines in templates.items()}


def read_sdnext(chunks: Chunks) -> Reading:
    """Reads SD.Next's text: lines of templates behind the prompts, keys of its own, a schedule by its class's name."""
    text, templates = without_templates(text_in(chunks))
    reading, _ = reading_of(text)
    parameters = reading.parameters
    rename(parameters, SDNEXT_NAMES)
    schedule = parameters.pop("Scheduler", None) or parameters.pop("Schedule type", None)
    sampler = parameters.pop("Sampler", None)
    base.put_sampler(parameters, sampler, schedule)
    sampler = parameters.pop("HiRes sampler", parameters.pop("Hires sampler", None))
    base.put_hires_sampler(parameters, sampler)
    retake_files(parameters, "Refiner", "VAE")
    for name, template in templates.items():
        base.put(parameters, name, template)
    return reading


def is_civitai(chunks: Chunks) -> bool:
    """Tells whether it is an export of Civitai."""
    pairs = last_line(text_in(chunks))
    return "Civitai resources:" in pairs or "Civitai metadata:" in pairs


def resource_kind(resource: dict[str, Any]) -> str:
    """Returns what a resource of Civitai is, in small letters; its address names it too: urn:air:sdxl:lora:..."""
    address = base.text_of(resource.get("air")).split(":")
    return base.text_of(resource.get("type") or (address[3] if len(address) > 3 else "")).lower()


KINDS = dict.fromkeys(RESOURCE_TYPES, "network") | {"checkpoint": "checkpoint", "model": "checkpoint", "vae": "vae"}
"""What Civitai calls a resource -> the kind of file."""


def resource_file(resource: dict[str, Any], kind: str) -> tuple[str, Wanted]:
    """Returns the words that stand for a resource: its name, else its address or number; and what is known of it."""
    name, address = (base.text_of(resource.get(key)) for key in ("modelName", "air"))
    number = base.whole(resource.get("modelVersionId"))
    match = base.re_address.match(address)
    if number is None and match is not None:
        number = base.whole(match[1])
    label = name or address or (f"modelVersionId {number}" if number is not None else "")
    return label, Wanted(KINDS.get(kind, kind), name, number)


def read_civitai(chunks: Chunks) -> Reading:
    """Reads an export of Civitai: the models are a list of resources in JSON."""
    reading, values = reading_of(text_in(chunks))
    resources = values.get("Civitai resources")
    for resource in resources if isinstance(resources, list) else []:
        if not isinstance(resource, dict):
            continue
        kind = resource_kind(resource)
        label, wanted = resource_file(resource, kind)
        if not kind or not label:
            continue
        reading.wanted.setdefault((wanted.kind, label), wanted)
        if wanted.kind == "checkpoint":
            reading.parameters.setdefault("Model", label)
        elif wanted.kind == "network":
            weight = base.number(resource.get("weight", resource.get("strength")))
            reading.networks.append((label, 1 if weight is None else weight))
        else:
            base.add_text(reading.parameters, f"Civitai {kind}", label)
    retake_sampler(reading.parameters)
    retake_hash(reading.parameters)
    return reading


def retake_hash(parameters: dict[str, Any]) -> None:
    """Writes the hash of the checkpoint as checkpoints are looked up: ten small digits."""
    digits = str(parameters.get("Model hash", ""))
    if re.fullmatch(r"[0-9A-Fa-f]{10,64}", digits):
        parameters["Model hash"] = digits[:10].lower()


def is_comfy_pairs(chunks: Chunks) -> bool:
    """Tells whether a node of ComfyUI wrote it, which gives itself this version."""
    return re.search(r"Version: ComfyUI\b", last_line(text_in(chunks))) is not None


def read_comfy_pairs(chunks: Chunks) -> Reading:
    """Reads what nodes of ComfyUI write: v1.10.1's text with ComfyUI's names of samplers."""
    reading, _ = reading_of(text_in(chunks))
    schedule = reading.parameters.pop("Scheduler", None) or reading.parameters.pop("Schedule type", None)
    base.put_sampler(reading.parameters, reading.parameters.pop("Sampler", None), schedule)
    rename(reading.parameters, {"Version": "Program"})
    retake_files(reading.parameters, "Model", "VAE")
    retake_hash(reading.parameters)
    return reading


FOOOCUS_NAMES = {"Version": "Fooocus version", "Refiner Switch": "Refiner switch at"}


def is_fooocus_pairs(chunks: Chunks) -> bool:
    """Tells whether Fooocus wrote it in its scheme "a1111"."""
    if base.is_like_json(text_in(chunks)):
        return False
    return chunks.get("fooocus_scheme", "MakerNote") == "a1111" or "Version: Fooocus" in last_line(text_in(chunks))


def read_fooocus_pairs(chunks: Chunks) -> Reading:
    """Reads Fooocus' scheme "a1111": a schedule of its own key, weights of networks in a list beside their hashes."""
    reading, _ = reading_of(text_in(chunks))
    parameters = reading.parameters
    rename(parameters, FOOOCUS_NAMES)
    retake_sampler(parameters, "Scheduler")
    retake_files(parameters, "Model", "VAE", "Refiner")
    for name, weight in re.findall(r"([^,:]+):\s*(-?[\d.]+)", str(parameters.pop("Lora weights", ""))):
        value = base.number(weight)
        if value is not None:
            reading.networks.append((base.stem(name.strip()), value))
    return reading


SDCPP_RNG = {"cuda": "NV", "cpu": "CPU"}
"""stable-diffusion.cpp's sources of noise -> ours: "cuda" is Philox, as on the GPUs of one maker."""


def is_sdcpp(chunks: Chunks) -> bool:
    """Tells whether stable-diffusion.cpp wrote it."""
    return "Version: stable-diffusion.cpp" in last_line(text_in(chunks))


def read_sdcpp(chunks: Chunks) -> Reading:
    """Reads stable-diffusion.cpp's text: sampler and schedule in one, and `Hires upscale` that holds a name."""
    reading, _ = reading_of(text_in(chunks))
    parameters = reading.parameters
    retake_sampler(parameters)
    upscaler, factor = parameters.pop("Hires upscale", None), parameters.pop("Hires scale", None)
    base.put(parameters, "Hires upscaler", upscaler)
    base.put(parameters, "Hires upscale", base.number(factor))
    for name in ("CFG scale", "Denoising strength"):
        base.put(parameters, name, base.number(parameters.pop(name, None)))
    layers = base.whole(parameters.pop("Clip skip", None))
    base.put(parameters, "Clip skip", layers if layers is not None and layers > 0 else None)
    noise = parameters.pop("RNG", None)
    base.put(parameters, "RNG", SDCPP_RNG.get(str(noise).lower()))
    if noise is not None and "RNG" not in parameters:
        parameters["Unknown RNG"] = noise
    rename(parameters, {"Unet": "Model", "Eta": "sd-cpp eta", "Version": "Program"})
    retake_files(parameters, "Model", "VAE")
    return reading


re_late_templates = re.compile(r"^(?P<text>.*\nSteps: [^\n]+)\n(?P<templates>(?:Negative )?Template: .*)$", re.DOTALL)


def is_dynamic_prompts(chunks: Chunks) -> bool:
    """Tells whether templates stand behind the pairs, where the extension Dynamic Prompts wrote them."""
    text = text_in(chunks)
    return "Template: " in text and re_late_templates.match(text.strip()) is not None


def read_dynamic_prompts(chunks: Chunks) -> Reading:
    """Reads an infotext with templates behind it."""
    match = re_late_templates.match(text_in(chunks).strip())
    assert match is not None
    reading, _ = reading_of(match["text"])
    for line in match["templates"].split("\n"):
        name, _, template = line.partition(": ")
        if name in ("Template", "Negative Template"):
            base.put(reading.parameters, name, template.strip())
    return reading


DIALECTS = (
    Dialect("Dynamic Prompts", is_dynamic_prompts, read_dynamic_prompts),
    Dialect("Civitai", is_civitai, read_civitai),
    Dialect("stable-diffusion.cpp", is_sdcpp, read_sdcpp),
    Dialect("Fooocus", is_fooocus_pairs, read_fooocus_pairs),
    Dialect("ComfyUI's nodes", is_comfy_pairs, read_comfy_pairs),
    Dialect("SD.Next", is_sdnext, read_sdnext),
)
