"""base: programs that write a JSON object among the image's texts: Fooocus, RuinedFooocus, SwarmUI, InvokeAI."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from modules.dialects import base
from modules.dialects.base import TEXT_CHUNKS, Chunks, Dialect, Reading, model_name


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


def put_refiner(parameters: dict[str, Any], source: dict[str, Any], model: str, switch: str) -> None:
    """Sets the refiner and when it takes over, if there is one. model, switch: their keys in the source."""
    name = model_name(source.get(model))
    if name:
        parameters["Refiner"] = name
        base.put_numbers(parameters, source, {"Refiner switch at": switch})


def is_fooocus(chunks: Chunks) -> bool:
    """Tells whether Fooocus wrote it in its own scheme."""
    return chunks.get("fooocus_scheme", "MakerNote") == "fooocus" or base.is_json_object(
        chunks.get(*TEXT_CHUNKS), "base_model", "guidance_scale"
    )


FOOOCUS_FACTS = ("performance", "styles", "sharpness", "adm_guidance", "version")
"""What Fooocus does that nothing here does; it stays visible."""


def read_fooocus(chunks: Chunks) -> Reading:
    """Reads Fooocus' scheme "fooocus"."""
    source = base.read_json(chunks.get(*TEXT_CHUNKS), "the metadata of Fooocus")
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    base.put_sampler(parameters, source.get("sampler"), source.get("scheduler"))
    base.put_numbers(parameters, source, {"CFG scale": "guidance_scale", "Seed": "seed"})
    base.put_size(parameters, *(re.findall(r"\d+", str(source.get("resolution"))[:100]) + [None, None])[:2])
    base.put(parameters, "Model hash", base.text_of(source.get("base_model_hash")))
    base.put(parameters, "Model", model_name(source.get("base_model")))
    base.put(parameters, "VAE", model_name(source.get("vae")))
    base.put_numbers(parameters, source, {"Clip skip": "clip_skip"})
    put_refiner(parameters, source, "refiner_model", "refiner_switch")
    for name in FOOOCUS_FACTS:
        if isinstance(source.get(name), str | int | float):
            base.put(parameters, f"Fooocus {name.replace('_', ' ')}", source[name])
    combined = [of_combined(value) for key, value in source.items() if re.match("lora_combined_|LoRA ", key)]
    return Reading(
        base.text_of(source.get("prompt")),
        base.text_of(source.get("negative_prompt")),
        parameters,
        weighted(source.get("loras")) or weighted(combined),
    )


def of_combined(value: Any) -> list[Any]:
    """Returns the pair [name, weight] of a text "name : weight"; an empty one without them."""
    name, _, weight = base.text_of(value).rpartition(" : ")
    return [name, weight] if name else []


def is_ruined_fooocus(chunks: Chunks) -> bool:
    """Tells whether RuinedFooocus wrote it."""
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


SWARM_UPSCALERS = {
    "latent-bilinear": "Latent",
    "latent-bicubic": "Latent (bicubic)",
    "latent-nearest-exact": "Latent (nearest-exact)",
    "pixel-lanczos": "Lanczos",
    "pixel-nearest-exact": "Nearest",
}
"""SwarmUI's ways to enlarge -> ours."""


def is_swarm(chunks: Chunks) -> bool:
    """Tells whether SwarmUI wrote it."""
    return base.is_json_object(chunks.get(*TEXT_CHUNKS), "sui_image_params")


def read_swarm(chunks: Chunks) -> Reading:
    """Reads SwarmUI's object. Its hashes are of the weights alone, none that names a file here."""
    whole = base.read_json(chunks.get(*TEXT_CHUNKS), "the metadata of SwarmUI")
    source, more = whole.get("sui_image_params"), whole.get("sui_extra_data")
    if not isinstance(source, dict):
        raise base.Unreadable("the metadata of SwarmUI hold no sui_image_params")
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    base.put_sampler(parameters, source.get("sampler"), source.get("scheduler"))
    base.put_numbers(parameters, source, {"CFG scale": "cfgscale", "Distilled CFG Scale": "fluxguidancescale"})
    base.put_numbers(parameters, source, {"Seed": "seed"})
    base.put_size(parameters, source.get("width"), source.get("height"))
    base.put(parameters, "Model", model_name(source.get("model")))
    base.put(parameters, "VAE", model_name(source.get("vae")))
    if "initimage" in source or (isinstance(more, dict) and "initimage_filename" in more):
        base.put_numbers(parameters, source, {"Denoising strength": "initimagecreativity"})
    names = {"Variation seed": "variationseed", "Variation seed strength": "variationseedstrength"}
    base.put_numbers(parameters, source, names)
    layer = base.whole(source.get("clipstopatlayer"))
    base.put(parameters, "Clip skip", abs(layer) if layer else None)
    put_swarm_refiner(parameters, source)
    weights = listed(source.get("loraweights"))
    pairs = [[name, weights[i] if i < len(weights) else 1] for i, name in enumerate(listed(source.get("loras")))]
    return Reading(
        base.text_of(source.get("prompt")), base.text_of(source.get("negativeprompt")), parameters, weighted(pairs)
    )


def listed(value: Any) -> list[Any]:
    """Returns a list, that of a text with commas, or an empty one for what is neither."""
    if isinstance(value, str):
        return [entry.strip() for entry in value.split(",")]
    return value if isinstance(value, list) else []


def put_swarm_refiner(parameters: dict[str, Any], source: dict[str, Any]) -> None:
    """Sets what SwarmUI's refiner did: taking over for the last steps, or a pass of its own like our hires pass."""
    share = base.number(source.get("refinercontrolpercentage"))
    if share is None or not 0 < share <= 1:
        return
    model = model_name(source.get("refinermodel"))
    model = None if model == "(Use Base)" else model
    factor = base.number(source.get("refinerupscale")) or 1
    if "step" in base.text_of(source.get("refinermethod")).lower():
        base.put(parameters, "Refiner", model)
        base.put(parameters, "Refiner switch at", round(1 - share, 4) if model else None)
    elif factor > 1:
        parameters |= {"Denoising strength": share, "Hires upscale": factor}
        way = base.text_of(source.get("refinerupscalemethod"))
        ours = SWARM_UPSCALERS.get(way) or (model_name(way[6:]) if way.startswith("model-") else None)
        base.put(parameters, "Hires upscaler" if ours else "Unknown hires upscaler", ours or way)
        base.put_numbers(parameters, source, {"Hires steps": "refinersteps", "Hires CFG Scale": "refinercfgscale"})
        base.put(parameters, "Hires checkpoint", model)
    else:
        base.put(parameters, "SwarmUI refiner", model)


def is_invoke(chunks: Chunks) -> bool:
    """Tells whether InvokeAI wrote it."""
    return (
        bool(chunks.get("invokeai_metadata"))
        or base.is_json_object(chunks.get(*TEXT_CHUNKS), "app_version", "generation_mode")
        or base.is_json_object(chunks.get("sd-metadata"), "app_version", "image")
        or chunks.get("Dream").startswith('"')
    )


def read_invoke(chunks: Chunks) -> Reading:
    """Reads InvokeAI's object. Its samplers end with "_k" where they follow Karras' schedule; its clip_skip counts the
    layers left out.
    """
    text = chunks.get("invokeai_metadata")
    if not text and chunks.get("sd-metadata"):
        return read_old_invoke(base.read_json(chunks.get("sd-metadata"), "the metadata of InvokeAI"))
    if not text and chunks.get("Dream"):
        return read_dream(chunks.get("Dream"))
    source = base.read_json(text or chunks.get(*TEXT_CHUNKS), "the metadata of InvokeAI")
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    sampler = base.text_of(source.get("scheduler"))
    base.put_sampler(parameters, sampler.removesuffix("_k"), "karras" if sampler.endswith("_k") else None)
    base.put_numbers(parameters, source, {"CFG scale": "cfg_scale", "Distilled CFG Scale": "guidance"})
    base.put_numbers(parameters, source, {"Seed": "seed"})
    base.put_size(parameters, source.get("width"), source.get("height"))
    base.put(parameters, "Model", model_name(source.get("model")))
    base.put(parameters, "VAE", model_name(source.get("vae")))
    if not base.text_of(source.get("generation_mode")).endswith("txt2img"):
        base.put_numbers(parameters, source, {"Denoising strength": "strength"})
    skipped = base.whole(source.get("clip_skip") or source.get("clip_skipped_layers") or source.get("skipped_layers"))
    base.put(parameters, "Clip skip", skipped + 1 if skipped and skipped > 0 else None)
    if source.get("seamless_x") is True and source.get("seamless_y") is True:
        parameters["Tiling"] = True
    if source.get("rand_device") == "cpu":
        parameters["RNG"] = "CPU"
    put_refiner(parameters, source, "refiner_model", "refiner_start")
    return Reading(
        base.text_of(source.get("positive_prompt")),
        base.text_of(source.get("negative_prompt")),
        parameters,
        weighted(source.get("loras"), ("model", "lora"), ("weight",)),
    )


def read_old_invoke(source: dict[str, Any]) -> Reading:
    """Reads what InvokeAI 2 wrote; the negative prompt stands in brackets in the prompt."""
    image = source.get("image")
    if not isinstance(image, dict):
        raise base.Unreadable("the metadata of InvokeAI hold no image")
    prompt = image.get("prompt")
    if isinstance(prompt, list):
        prompt = ", ".join(base.text_of(part.get("prompt")) for part in prompt if isinstance(part, dict))
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, image, {"Steps": "steps"})
    base.put_sampler(parameters, image.get("sampler"))
    base.put_numbers(parameters, image, {"CFG scale": "cfg_scale", "Seed": "seed"})
    base.put_size(parameters, image.get("width"), image.get("height"))
    base.put(parameters, "Model", model_name(source.get("model_weights")))
    if image.get("type") == "img2img":
        base.put_numbers(parameters, image, {"Denoising strength": "strength"})
    prompt, negative = split_brackets(base.text_of(prompt))
    networks = [(base.stem(name.strip()), base.number(weight or 1)) for name, weight in re_with_lora.findall(prompt)]
    known = [(name, weight) for name, weight in networks if weight is not None]
    return Reading(re_with_lora.sub("", prompt).strip(), negative, parameters, known)


re_with_lora = re.compile(r"\s*\bwithLora\(([^,()]+)(?:,\s*([-\d.]+)\s*)?\)")
"""How InvokeAI 2 names a network in a prompt: its name, and perhaps its weight."""

re_brackets = re.compile(r"\s*(?<!\\)\[([^\[\]]*)\]")


def split_brackets(prompt: str) -> tuple[str, str]:
    """Returns the prompt and the negative prompt, which InvokeAI's first versions put in brackets into it."""
    return re_brackets.sub("", prompt).strip(), ", ".join(re_brackets.findall(prompt))


DREAM_OPTIONS = {"-s": "Steps", "-C": "CFG scale", "-S": "Seed", "-W": "width", "-H": "height", "-A": "sampler"}


def read_dream(text: str) -> Reading:
    """Reads the command of InvokeAI's first version: a prompt in quotes, then options."""
    prompt, _, rest = text[1:].rpartition('" ')
    words = rest.split()
    said = {DREAM_OPTIONS[word]: value for word, value in itertools.pairwise(words) if word in DREAM_OPTIONS}
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, said, {"Steps": "Steps"})
    base.put_sampler(parameters, said.get("sampler"))
    base.put_numbers(parameters, said, {"CFG scale": "CFG scale", "Seed": "Seed"})
    base.put_size(parameters, said.get("width"), said.get("height"))
    if not parameters:
        raise base.Unreadable("the command of InvokeAI has no options")
    return Reading(*split_brackets(prompt), parameters)


DIALECTS = (
    Dialect("InvokeAI", is_invoke, read_invoke),
    Dialect("SwarmUI", is_swarm, read_swarm),
    Dialect("RuinedFooocus", is_ruined_fooocus, read_ruined_fooocus),
    Dialect("Fooocus", is_fooocus, read_fooocus),
)
