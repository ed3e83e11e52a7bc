"""base: the text form of generation parameters ("infotext") that images carry. Strings and dicts only; no settings.

A text is the prompt (any number of lines), optionally "Negative prompt: ..." (likewise), and one line of "Key: value"
pairs. `build_infotext` and `parse_infotext` are each other's inverse for all that the rules can express;
`add_missing_parameters` states what an absent key means.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)

NEGATIVE_PROMPT_MARK = "Negative prompt:"
MIN_PARAMETERS = 3  # a last line with fewer pairs is part of the prompt

re_param_code = r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)'
re_param = re.compile(re_param_code)
re_pair = re.compile(r'(?<![\w \-/])[ \-/]*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""Finds what re_param finds, but looks at each sign once: a long text without a colon takes the other one forever."""

re_imagesize = re.compile(r"^(\d+)x(\d+)$")
json_decoder = json.JSONDecoder()
re_hypernet_hash = re.compile(r"\(([0-9a-f]+)\)$")

SAME_CHECKPOINT = "Use same checkpoint"
SAME_SAMPLER = "Use same sampler"
SAME_SCHEDULER = "Use same scheduler"
"""Entries of the menus of the hires pass that stand for what the first pass has."""

# What a parser of this version understands when an image does not say.
DEFAULT_PARAMETERS: Mapping[str, Any] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": SAME_SAMPLER,
    "Hires schedule type": SAME_SCHEDULER,
    "Hires checkpoint": SAME_CHECKPOINT,
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
}


class InfotextParts(NamedTuple):
    """The three parts of an infotext; absent ones are empty."""

    prompt: str
    negative_prompt: str
    parameters: str


def quote(text: Any) -> Any:
    """Returns text unchanged, or as a JSON string if it holds one of the marks comma, colon, line break."""
    if not any(mark in str(text) for mark in ",\n:"):
        return text
    return json.dumps(text, ensure_ascii=False, default=str)


def unquote(text: str) -> str:
    """Undoes `quote`; text that is not a valid JSON string is returned as it is."""
    if len(text) == 0 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def build_parameters(parameters: Mapping[str, Any]) -> str:
    """Returns the pairs as one line, in order; None values are left out, a key that is its own value stands alone."""
    return ", ".join(
        key if key == value else f"{key}: {quote(value)}" for key, value in parameters.items() if value is not None
    )


def tag_name(name: str) -> str:
    """Returns a name as it can stand in a tag: without the characters that part a tag, or begin a comment."""
    return re.sub(r"[:<>=#]", "_", name)


def build_infotext(prompt: str, negative_prompt: str, parameters: Mapping[str, Any]) -> str:
    """Returns the infotext of one image."""
    negative = f"\n{NEGATIVE_PROMPT_MARK} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{build_parameters(parameters)}".strip()


def has_pairs(line: str) -> bool:
    """Tells whether a line has the pairs of an infotext: a fast search for what can be none, then a real one."""
    if line.count(":") < MIN_PARAMETERS:
        return False
    return sum(1 for _ in islice(re_pair.finditer(line), MIN_PARAMETERS)) == MIN_PARAMETERS


def split_infotext(text: str) -> InfotextParts:
    """Cuts an infotext into its parts; each line of the prompts loses the blanks around it."""
    *lines, parameters = text.strip().split("\n")
    if not has_pairs(parameters):
        lines.append(parameters)
        parameters = ""

    prompt: list[str] = []
    negative_prompt: list[str] = []
    current = prompt
    for line in map(str.strip, lines):
        if line.startswith(NEGATIVE_PROMPT_MARK):
            current = negative_prompt
            line = line.removeprefix(NEGATIVE_PROMPT_MARK).strip()
        if current or line:
            current.append(line)
    return InfotextParts("\n".join(prompt), "\n".join(negative_prompt), parameters)


def pairs_of(line: str) -> Iterator[tuple[str, str]]:
    """Yields the keys and raw values of a line of pairs. A value that is bare JSON is whole, commas and all."""
    place: int | None = 0
    while place is not None:
        start, place = place, None
        for match in re_pair.finditer(line, start):
            key, raw = match.groups()
            end = end_of_json(line, match.start(2)) if raw.startswith(("[", "{")) else None
            if end is not None:
                place = max(end, match.end())
                yield key, line[match.start(2) : end]
                break
            yield key, raw


def end_of_json(line: str, start: int) -> int | None:
    """Returns the place after the JSON that begins there, None if it is none or more than a comma follows."""
    with suppress(ValueError, RecursionError):
        _, end = json_decoder.raw_decode(line, start)
        if line[end : end + 20].lstrip()[:1] in ("", ","):
            return end
    return None


def parse_parameters(line: str) -> dict[str, str]:
    """Reads a line of pairs; a value such as 512x768 becomes the keys "<key>-1" and "<key>-2", all values stay text."""
    parameters: dict[str, str] = {}
    for key, raw in pairs_of(line):
        if raw == "":
            logger.warning("Infotext: the value of %r is empty and is ignored", key)
            continue
        value = unquote(raw) if raw[0] == '"' else raw
        size = re_imagesize.match(value) if isinstance(value, str) and "x" in value else None
        if size:
            parameters[f"{key}-1"], parameters[f"{key}-2"] = size.groups()
        else:
            parameters[key] = value
    return parameters


def parse_infotext(text: str) -> dict[str, Any]:
    """Returns the pairs of an infotext together with its prompts under "Prompt" and "Negative prompt"."""
    parts = split_infotext(text)
    return {**parse_parameters(parts.parameters), "Prompt": parts.prompt, "Negative prompt": parts.negative_prompt}


def convert_legacy_hypernetwork(parameters: MutableMapping[str, Any]) -> None:
    """Turns the pair "Hypernet" of old images into the network tag that replaced it, at the end of the prompt."""
    name = parameters.get("Hypernet")
    if name is not None:
        parameters["Prompt"] += f"<hypernet:{name}:{parameters.get('Hypernet strength', '1.0')}>"


NETWORK_HASHES = {"lora:": "Lora hashes", "embed:": "TI hashes"}
"""Beginnings of names in the pair "Hashes" -> the keys that hold the same."""

MODEL_HASHES = {"model": "Model hash", "vae": "VAE hash"}


def add_hashes(parameters: MutableMapping[str, Any]) -> None:
    """Adds the hashes that the pair "Hashes" holds in JSON, {"model": ..., "lora:name": ...}, under the keys of their
    own, where those are not there.
    """
    try:
        hashes = json.loads(parameters.get("Hashes", "{}"))
    except (TypeError, ValueError, RecursionError):
        return
    if not isinstance(hashes, dict):
        return
    hashes = {name: value for name, value in hashes.items() if isinstance(value, str)}
    for name, key in MODEL_HASHES.items():
        if hashes.get(name):
            parameters.setdefault(key, hashes[name])
    for beginning, key in NETWORK_HASHES.items():
        own = [f"{name[len(beginning) :]}: {value}" for name, value in hashes.items() if name.startswith(beginning)]
        if own:
            parameters.setdefault(key, ", ".join(own))


def add_missing_parameters(parameters: MutableMapping[str, Any]) -> None:
    """Adds the keys that have a meaning when an image does not carry them (`DEFAULT_PARAMETERS`)."""
    for key, value in DEFAULT_PARAMETERS.items():
        parameters.setdefault(key, value)
    if parameters["FP8 weight"] != "Disable":
        parameters.setdefault("Cache FP16 weight for LoRA", False)


def drop_parameters(parameters: MutableMapping[str, Any], keys: Iterable[str]) -> None:
    """Removes keys, those that are there."""
    for key in keys:
        parameters.pop(key, None)
