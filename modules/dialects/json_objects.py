"""base: programs that write a JSON object: Fooocus, RuinedFooocus, SwarmUI, InvokeAI, NovelAI, Draw Things."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

from modules.dialects import base
from modules.dialects.base import Chunks, Dialect, Reading

TEXT_CHUNKS = ("parameters", "UserComment", "comment", "stealth")


def weighted(entries: Any, name_keys: Iterable[str] = (), weight_keys: Iterable[str] = ()) -> list[tuple[str, float]]:
    """Returns the networks of a list, each a pair [name, weight], "weight - name", or an object with such keys."""
    found = []
    for entry in entries if isinstance(entries, list) else []:
        name, weight = of_object(entry, name_keys, weight_keys) if isinstance(entry, dict) else of_pair(entry)
        value = base.number(weight)
        if isinstance(name, str) and name not in ("", "None") and value is not None:
            found.append((base.stem(name), value))
    return found


def of_object(entry: dict[str, Any], name_keys: Iterable[str], weight_keys: Iterable[str]) -> tuple[Any, Any]:
    """Returns name and weight of a network that is an object; the name may be inside another one."""
    name = next((entry[key] for key in name_keys if entry.get(key)), None)
    if isinstance(name, dict):
        name = name.get("name") or name.get("model_name")
    return name, next((entry[key] for key in weight_keys if entry.get(key) is not None), 1)


def of_pair(entry: Any) -> tuple[Any, Any]:
    """Returns name and weight of [name, weight, ...], or of the text "weight - name", alone or last in a list."""
    is_list = isinstance(entry, list)
    if is_list and len(entry) > 1 and base.number(entry[1]) is not None:
        return entry[0], entry[1]
    text = entry[-1] if is_list and entry else entry
    match = re.match(r"\s*(-?[\d.]+)\s*-\s*(.+)$", text) if isinstance(text, str) else None
    return (match[2], match[1]) if match else (None, None)


def model_name(value: Any) -> str | None:
    """Returns the stem of a model's name, None for the words that stand for none."""
    name = value.get("name") or value.get("model_name") if isinstance(value, dict) else value
    return (
        base.stem(name) if isinstance(name, str) and name not in ("", "None", "Automatic", "Default (model)") else None
    )


def is_fooocus(chunks: Chunks) -> bool:
    """Whether Fooocus wrote it in its own scheme."""
    return chunks.get("fooocus_scheme", "MakerNote") == "fooocus" or base.is_json_object(
        chunks.get(*TEXT_CHUNKS), "base_model", "guidance_scale"
    )


def read_fooocus(chunks: Chunks) -> Reading:
    """Reads Fooocus' scheme "fooocus"."""
    source = base.read_json(chunks.get(*TEXT_CHUNKS), "the metadata of Fooocus")
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    base.put_sampler(parameters, source.get("sampler"), source.get("scheduler"))
    base.put_numbers(parameters, source, {"CFG scale": "guidance_scale", "Seed": "seed"})
    base.put_size(parameters, *(re.findall(r"\d+", str(source.get("resolution"))) + [None, None])[:2])
    base.put(parameters, "Model hash", base.text_of(source.get("base_model_hash")))
    base.put(parameters, "Model", model_name(source.get("base_model")))
    base.put(parameters, "VAE", model_name(source.get("vae")))
    base.put_numbers(parameters, source, {"Clip skip": "clip_skip"})
    if model_name(source.get("refiner_model")):
        base.put(parameters, "Refiner", model_name(source["refiner_model"]))
        base.put_numbers(parameters, source, {"Refiner switch at": "refiner_switch"})
    for name in ("performance", "styles", "sharpness", "adm_guidance", "version"):
        if isinstance(source.get(name), str | int | float):
            base.put(parameters, f"Fooocus {name.replace('_', ' ')}", source[name])
    return Reading(
        base.text_of(source.get("prompt")),
        base.text_of(source.get("negative_prompt")),
        parameters,
        weighted(source.get("loras")),
    )


def is_ruined_fooocus(chunks: Chunks) -> bool:
    """Whether RuinedFooocus wrote it."""
    text = chunks.get(*TEXT_CHUNKS)
    return base.is_json_object(text, "software") and "RuinedFooocus" in text


def read_ruined_fooocus(chunks: Chunks) -> Reading:
    """Reads RuinedFooocus' object."""
    source = base.read_json(chunks.get(*TEXT_CHUNKS), "the metadata of RuinedFooocus")
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    base.put_sampler(parameters, source.get("sampler_name"), source.get("scheduler"))
    base.put_numbers(parameters, source, {"CFG scale": "cfg", "Seed": "seed"})
    base.put_size(parameters, source.get("width"), source.get("height"))
    base.put(parameters, "Model hash", base.text_of(source.get("base_model_hash")))
    base.put(parameters, "Model", model_name(source.get("base_model_name")))
    base.put_numbers(parameters, source, {"Clip skip": "clip_skip"})
    return Reading(
        base.text_of(source.get("Prompt")),
        base.text_of(source.get("Negative")),
        parameters,
        weighted(source.get("loras"), ("name",), ("weight",)),
    )


def is_swarm(chunks: Chunks) -> bool:
    """Whether SwarmUI wrote it."""
    return base.is_json_object(chunks.get(*TEXT_CHUNKS), "sui_image_params")


def read_swarm(chunks: Chunks) -> Reading:
    """Reads SwarmUI's object. Its hashes are of the weights alone, none that names a file here."""
    source = base.read_json(chunks.get(*TEXT_CHUNKS), "the metadata of SwarmUI").get("sui_image_params")
    if not isinstance(source, dict):
        raise base.Unreadable("the metadata of SwarmUI hold no sui_image_params")
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    base.put_sampler(parameters, source.get("sampler"), source.get("scheduler"))
    base.put_numbers(parameters, source, {"CFG scale": "cfgscale", "Seed": "seed"})
    base.put_size(parameters, source.get("width"), source.get("height"))
    base.put(parameters, "Model", model_name(source.get("model")))
    base.put(parameters, "VAE", model_name(source.get("vae")))
    base.put_numbers(
        parameters,
        source,
        {
            "Denoising strength": "initimagecreativity",
            "Variation seed": "variationseed",
            "Variation seed strength": "variationseedstrength",
        },
    )
    layer = base.whole(source.get("clipstopatlayer"))
    base.put(parameters, "Clip skip", abs(layer) if layer else None)
    names, weights = source.get("loras"), source.get("loraweights")
    names = names if isinstance(names, list) else []
    weights = weights if isinstance(weights, list) else []
    pairs = [[name, weights[i] if i < len(weights) else 1] for i, name in enumerate(names)]
    return Reading(
        base.text_of(source.get("prompt")), base.text_of(source.get("negativeprompt")), parameters, weighted(pairs)
    )


def is_invoke(chunks: Chunks) -> bool:
    """Whether InvokeAI wrote it."""
    return bool(chunks.get("invokeai_metadata")) or base.is_json_object(
        chunks.get(*TEXT_CHUNKS), "app_version", "generation_mode"
    )


def read_invoke(chunks: Chunks) -> Reading:
    """Reads InvokeAI's object. Its samplers end with "_k" where they follow Karras' schedule; its clip_skip counts the
    layers left out.
    """
    source = base.read_json(chunks.get("invokeai_metadata", *TEXT_CHUNKS), "the metadata of InvokeAI")
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    sampler = base.text_of(source.get("scheduler"))
    is_karras = sampler.endswith("_k")
    base.put_sampler(parameters, sampler.removesuffix("_k"), "karras" if is_karras else None)
    base.put_numbers(parameters, source, {"CFG scale": "cfg_scale", "Seed": "seed"})
    base.put_size(parameters, source.get("width"), source.get("height"))
    base.put(parameters, "Model", model_name(source.get("model")))
    base.put(parameters, "VAE", model_name(source.get("vae")))
    base.put_numbers(parameters, source, {"Denoising strength": "strength"})
    skipped = base.whole(source.get("clip_skip") or source.get("clip_skipped_layers"))
    base.put(parameters, "Clip skip", skipped + 1 if skipped else None)
    if model_name(source.get("refiner_model")):
        base.put(parameters, "Refiner", model_name(source["refiner_model"]))
        base.put_numbers(parameters, source, {"Refiner switch at": "refiner_start"})
    return Reading(
        base.text_of(source.get("positive_prompt")),
        base.text_of(source.get("negative_prompt")),
        parameters,
        weighted(source.get("loras"), ("model", "lora"), ("weight",)),
    )


NOVELAI_CLIP_SKIP = 2
NOVELAI_ENSD = 31337


def is_novelai(chunks: Chunks) -> bool:
    """Whether NovelAI wrote it, in text chunks or in the pixels."""
    return chunks.get("Software") == "NovelAI" or (
        base.is_json_object(chunks.get("stealth"), "Software") and "NovelAI" in chunks.get("stealth")
    )


def read_novelai(chunks: Chunks) -> Reading:
    """Reads NovelAI's settings; clip skip and seed delta are what its first model was run with, as v1.10.1 says too."""
    texts = chunks.texts
    if chunks.get("Software") != "NovelAI":
        texts = base.read_json(chunks.get("stealth"), "the hidden metadata of NovelAI")
    comment = texts.get("Comment")
    source = comment if isinstance(comment, dict) else base.read_json(str(comment), "the comment of NovelAI")
    if not {"steps", "sampler", "uc"} & source.keys():
        raise base.Unreadable("the comment of NovelAI holds no settings")
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    schedule = base.text_of(source.get("noise_schedule"))
    base.put_sampler(parameters, source.get("sampler"), None if schedule == "native" else schedule)
    base.put_numbers(parameters, source, {"CFG scale": "scale", "Seed": "seed"})
    width, height = chunks.size if all(chunks.size) else (source.get("width"), source.get("height"))
    base.put_size(parameters, width, height)
    base.put_numbers(parameters, source, {"Denoising strength": "strength"})
    parameters |= {"Clip skip": NOVELAI_CLIP_SKIP, "ENSD": NOVELAI_ENSD}
    prompt = base.text_of(texts.get("Description")) or base.text_of(source.get("prompt"))
    return Reading(prompt, base.text_of(source.get("uc")), parameters)


EXIF_NAMESPACE = "{http://ns.adobe.com/exif/1.0/}"
XMP_NAMESPACE = "{http://ns.adobe.com/xap/1.0/}"


def is_draw_things(chunks: Chunks) -> bool:
    """Whether Draw Things wrote it."""
    return "Draw Things" in chunks.get("xmp")


def xmp_values(text: str) -> dict[str, str]:
    """Returns tag or attribute of an XMP packet -> its text."""
    try:
        root = ElementTree.fromstring(text[text.index("<") :].strip("\0 \n"))
    except (ElementTree.ParseError, ValueError) as e:
        raise base.Unreadable(f"the XMP data are damaged: {e}") from e
    values = {}
    for element in root.iter():
        values |= element.attrib
        values[element.tag] = "".join(element.itertext()).strip()
    return values


def read_draw_things(chunks: Chunks) -> Reading:
    """Reads Draw Things' XMP, whose user comment is an object in JSON."""
    values = xmp_values(chunks.get("xmp"))
    source = base.read_json(values.get(f"{EXIF_NAMESPACE}UserComment", ""), "the comment of Draw Things")
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    base.put_sampler(parameters, source.get("sampler"))
    base.put_numbers(parameters, source, {"CFG scale": "scale", "Seed": "seed"})
    base.put_size(parameters, *(base.text_of(source.get("size")).split("x") + [None, None])[:2])
    base.put(parameters, "Model", model_name(source.get("model")))
    strength = base.number(source.get("strength"))
    base.put(parameters, "Denoising strength", strength if strength is not None and strength < 1 else None)
    return Reading(
        base.text_of(source.get("c")),
        base.text_of(source.get("uc")),
        parameters,
        weighted(source.get("lora"), ("model", "file", "name"), ("weight",)),
    )


DIALECTS = (
    Dialect("NovelAI", is_novelai, read_novelai),
    Dialect("InvokeAI", is_invoke, read_invoke),
    Dialect("SwarmUI", is_swarm, read_swarm),
    Dialect("RuinedFooocus", is_ruined_fooocus, read_ruined_fooocus),
    Dialect("Fooocus", is_fooocus, read_fooocus),
    Dialect("Draw Things", is_draw_things, read_draw_things),
)
