"""base: what the readers of other programs' image metadata share: their input, their result, and names in our words."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from modules import infotext

logger = logging.getLogger(__name__)

UNKNOWN_SAMPLER = "Unknown sampler"
UNKNOWN_SCHEDULE = "Unknown schedule type"
UNKNOWN_NETWORK = "Unknown network"
"""Keys under which names stay visible that no sampler, schedule or network here has."""


TEXT_CHUNKS = ("parameters", "UserComment", "comment", "stealth")
"""Where most programs put their text."""


class Unreadable(ValueError):
    """The metadata look like those of a program, but are damaged."""


@dataclass(frozen=True)
class Chunks:
    """The metadata of one image: chunk or tag name -> its text.

    Text chunks of PNG keep their names ("parameters", "prompt", "Comment"). Those of EXIF are called as the standard
    calls them ("UserComment", "ImageDescription", "Make", "Model", "MakerNote"), XMP is "xmp", and the text hidden in
    the pixels "stealth".
    """

    texts: Mapping[str, str]
    size: tuple[int, int] = (0, 0)

    def get(self, *names: str) -> str:
        """Returns the text of the first of these chunks that is there and not empty, else an empty text."""
        return next((self.texts[name] for name in names if self.texts.get(name)), "")


class Wanted(NamedTuple):
    """What metadata say of a model file.

    kind: "checkpoint", "vae" or "network". name: its stem; empty where the words that stand for it are none. version:
    number of the model version at Civitai.
    """

    kind: str
    name: str = ""
    version: int | None = None


class Local(NamedTuple):
    """A model file that is here. name: as the prompt, or the setting of its kind, names it. hash: of a checkpoint."""

    name: str
    hash: str = ""


Finder = Callable[[Wanted], Local | None]


def nowhere(wanted: Wanted) -> Local | None:
    """Finds no file."""
    return None


@dataclass
class Reading:
    """What a reader understood.

    parameters: infotext keys in today's names. networks: (file stem, weight) of the networks that were used, which the
    prompt does not name yet. wanted: what more is known of a file than its name, by its kind and this name.
    """

    prompt: str = ""
    negative_prompt: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    networks: list[tuple[str, float]] = field(default_factory=list)
    wanted: dict[tuple[str, str], Wanted] = field(default_factory=dict)

    def infotext(self, find: Finder = nowhere) -> str:
        """Returns the infotext that stands for the same image. find: tells which files here are the ones it names."""
        parameters = dict(self.parameters)
        self.prompt = re_tag_file.sub(lambda match: f"{match[1]}{stem(match[2])}", self.prompt)
        self.put_files(parameters, find)
        tags = self.tags(parameters, find)
        while parameters and len(parameters) < infotext.MIN_PARAMETERS:  # fewer are taken for a line of the prompt
            parameters[FILLERS[len(parameters)]] = "incomplete"
        return infotext.build_infotext(self.prompt + tags, self.negative_prompt, parameters)

    def what_is(self, kind: str, name: str) -> Wanted:
        """Returns what is known of a file."""
        address = re_address.match(name)
        if (kind, name) in self.wanted or address is None:
            return self.wanted.get((kind, name)) or Wanted(kind, name)
        return Wanted(kind, version=whole(address[1]))

    def put_files(self, parameters: dict[str, Any], find: Finder) -> None:
        """Names checkpoint and VAE as the files here are called, where they are here."""
        model, vae = text_of(parameters.get("Model")), text_of(parameters.get("VAE"))
        checkpoint = find(self.what_is("checkpoint", model)) if model else None
        if checkpoint is not None:
            parameters["Model"] = checkpoint.name
            parameters.setdefault("Model hash", checkpoint.hash)
        vaes = [wanted for wanted in self.wanted.values() if wanted.kind == "vae"]
        for wanted in [self.what_is("vae", vae), *vaes] if vae else vaes:
            found = find(wanted)
            if found is not None:
                parameters["VAE"] = found.name

    def tags(self, parameters: dict[str, Any], find: Finder) -> str:
        """Returns the tags of the networks. One that has no name stays visible as text, unless it is here."""
        tags = ""
        for name, weight in self.networks:
            wanted = self.what_is("network", name)
            local = find(wanted)
            tag = infotext.tag_name(local.name) if local else tag_of(wanted.name)
            if not tag:
                add_text(parameters, UNKNOWN_NETWORK, f"{name} ({weight:g})")
            elif f"<lora:{tag}:" not in self.prompt:
                tags += f"<lora:{tag}:{weight:g}>"
        return tags


re_tag_file = re.compile(r"(<(?:lora|lyco):)([^:<>]+)")
"""A tag up to the end of its name, which other programs write with its folder."""

FILLERS = ("Metadata", "Metadata of the source", "Metadata of the image")
"""Keys that stand in for pairs where there are too few for an infotext."""


re_address = re.compile(r"(?:urn:)?air:[^:]*:[^:]*:civitai:\d+@(\d+)", re.IGNORECASE)
"""A model's address at Civitai, whose last number is that of the version."""


def add_text(parameters: dict[str, Any], key: str, text: str) -> None:
    """Puts a text under a key, behind what stands there already."""
    parameters[key] = f"{parameters[key]}; {text}" if key in parameters else text


def tag_of(name: str) -> str:
    """Returns what another program calls a network as a tag in a prompt can hold it."""
    return infotext.tag_name(" ".join(re.sub(r"[:<>\n]", " ", name).split()))


class Dialect(NamedTuple):
    """One program's way to write metadata: whether an image's chunks are of it, and what they say.

    read raises Unreadable for chunks that are damaged.
    """

    name: str
    detect: Callable[[Chunks], bool]
    read: Callable[[Chunks], Reading]


def read_json(text: str, what: str) -> dict[str, Any]:
    """Returns a JSON object. Raises Unreadable, naming `what`, for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise Unreadable(f"{what} is damaged: {e}") from e
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is no object")
    return value


re_json_start = re.compile(r"""\s*(?:\{\s*(?:["'}]|$)|\[\s*(?:[{"']|\[\s*[\[{"']))""")


def is_like_json(text: str) -> bool:
    """Tells whether a text begins as JSON does, which no prompt does: "{red|green}" and "[cat:dog:0.5]" are prompts."""
    return re_json_start.match(text.removeprefix("\ufeff")) is not None


def is_json_object(text: str, *keys: str) -> bool:
    """Tells whether a text begins as a JSON object that names all of these keys, without reading it."""
    return text.lstrip()[:1] == "{" and all(f'"{key}"' in text for key in keys)


def stem(name: Any) -> str:
    """Returns the name of a model file without folders (of either system) and without its ending."""
    base = re.split(r"[\\/]", str(name))[-1]
    return re.sub(r"\.(safetensors|ckpt|pt|pth|bin|gguf|sft)$", "", base, flags=re.IGNORECASE)


NO_MODEL = ("", "None", "Automatic", "Default (model)", "(Use Base)")
"""Words that stand for no model of its own."""


def model_name(value: Any) -> str | None:
    """Returns the stem of a model's name, which may be inside an object; None for the words that stand for none."""
    name = value.get("name") or value.get("model_name") if isinstance(value, dict) else value
    return stem(text_of(name)) if isinstance(name, str) and name not in NO_MODEL else None


def number(value: Any) -> float | int | None:
    """Returns a number, of a text as an int where it is whole; None for what is none, infinities among it.

    Whole numbers keep all their digits: seeds have more than a float holds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
        if result != result or result in (float("inf"), float("-inf")):
            return None
        if not isinstance(value, str):
            return value
        return int(value) if re_whole.match(value) else int(result) if result.is_integer() else result
    except (ValueError, OverflowError):
        return None


re_whole = re.compile(r"\s*[-+]?\d+\s*$")


def text_of(value: Any) -> str:
    """Returns a text, the lines of a list of texts, or an empty text for what is neither."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(line.strip() for line in value)
    if not isinstance(value, str):
        return ""
    return value.encode("utf8", errors="replace").decode("utf8").strip()  # JSON can hold halves of signs


def put(parameters: dict[str, Any], key: str, value: Any) -> None:
    """Sets a key unless the value says nothing: None, or an empty text."""
    if value is not None and value != "":
        parameters[key] = value


def whole(value: Any) -> int | None:
    """Returns a whole number, None for what is none."""
    result = number(value)
    return int(result) if result is not None and float(result).is_integer() else None


WHOLE = {"Steps", "Seed", "Variation seed", "Clip skip"}
"""Infotext keys whose number is whole."""

SEEDS = ("Seed", "Variation seed")


def put_numbers(parameters: dict[str, Any], source: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Sets the keys whose number the source has. names: infotext key -> key of the source.

    A seed below zero stands for any, which is not the one that was used.
    """
    for key, name in names.items():
        value = (whole if key in WHOLE else number)(source.get(name))
        put(parameters, key, None if key in SEEDS and value is not None and value < 0 else value)


MAX_SIDE = 1_000_000


def put_size(parameters: dict[str, Any], width: Any, height: Any) -> None:
    """Sets the size, if both sides are numbers of pixels."""
    sides = [whole(width), whole(height)]
    if all(side is not None and 0 < side <= MAX_SIDE for side in sides):
        parameters["Size"] = f"{sides[0]}x{sides[1]}"


SAMPLERS = {
    "ddim": "DDIM",
    "ddim_v3": "DDIM",
    "dpm_2": "DPM2",
    "dpm2": "DPM2",
    "kdpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "dpm2_a": "DPM2 a",
    "kdpm_2_a": "DPM2 a",
    "dpm_adaptive": "DPM adaptive",
    "dpm_fast": "DPM fast",
    "dpmpp_2m": "DPM++ 2M",
    "dpm++2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_2m_sde_heun_gpu": "DPM++ 2M SDE Heun",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpm++2s_a": "DPM++ 2S a",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_sde_gpu": "DPM++ SDE",
    "euler": "Euler",
    "euler_a": "Euler a",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "lcm": "LCM",
    "lms": "LMS",
    "plms": "PLMS",
    "pndm": "PLMS",
    "restart": "Restart",
    "uni_pc": "UniPC",
    "unipc": "UniPC",
    "dpm++ 2m": "DPM++ 2M",
    "dpm++ 2m sde": "DPM++ 2M SDE",
    "dpm++ 2m sde heun": "DPM++ 2M SDE Heun",
    "dpm++ 2s a": "DPM++ 2S a",
    "dpm++ 3m sde": "DPM++ 3M SDE",
    "dpm++ sde": "DPM++ SDE",
    "dpm fast": "DPM fast",
    "dpm adaptive": "DPM adaptive",
    "dpm2 a": "DPM2 a",
    "ddim cfg++": "DDIM CFG++",
    "euler a": "Euler a",
    "euler ancestral": "Euler a",
}
"""What other programs call a sampler, in small letters -> its name here. One that is not in it computes differently."""

SCHEDULES = {
    "align_your_steps": "Align Your Steps",
    "align your steps": "Align Your Steps",
    "automatic": "Automatic",
    "ays": "Align Your Steps",
    "beta": "Beta",
    "ddim": "DDIM",
    "ddim_uniform": "DDIM",
    "discrete": "Uniform",
    "exponential": "Exponential",
    "karras": "Karras",
    "kl_optimal": "KL Optimal",
    "kl optimal": "KL Optimal",
    "normal": "Normal",
    "polyexponential": "Polyexponential",
    "sgm_uniform": "SGM Uniform",
    "sgm uniform": "SGM Uniform",
    "simple": "Simple",
    "uniform": "Uniform",
}
"""What other programs call a schedule, in small letters -> its name here."""

OTHER_SCHEDULES = {"beta57", "bong_tangent", "gits", "lcm", "linear_quadratic", "smoothstep", "trailing"}
"""What other programs call a schedule that none of ours is."""

NO_NAME = ("", "undefined", "none", "default")
"""Words that stand for no sampler or schedule, in small letters."""


def split_schedule(name: str) -> tuple[str, str]:
    """Returns a sampler's name and that of the schedule behind it; ("", "") if there are not both."""
    for match in re.finditer("[ _]", name):
        head, tail = name[: match.start()], name[match.end() :]
        if head.lower() in SAMPLERS and tail.lower() in SCHEDULES.keys() | OTHER_SCHEDULES:
            return head, tail
    return "", ""


def put_sampler(parameters: dict[str, Any], sampler: Any, schedule: Any = None) -> None:
    """Sets sampler and schedule in our names. A name that is not known stays visible and chooses nothing.

    A sampler's name may end with that of its schedule, "DPM++ 2M Karras", "euler_a karras".
    """
    name = text_of(sampler).removeprefix("k_")
    known = SAMPLERS.get(name.lower())
    if known is None:
        head, tail = split_schedule(name)
        known, schedule = SAMPLERS.get(head.lower()), schedule or tail
    if name.lower() not in NO_NAME:
        put(parameters, "Sampler" if known else UNKNOWN_SAMPLER, known or name)
    wanted = text_of(schedule)
    if wanted.lower() in NO_NAME:
        return
    known = SCHEDULES.get(wanted.lower())
    put(parameters, "Schedule type" if known else UNKNOWN_SCHEDULE, known or wanted)


def put_hires_sampler(parameters: dict[str, Any], sampler: Any) -> None:
    """Sets the sampler of the hires pass in our names; one that is not known stays visible and chooses nothing."""
    found: dict[str, Any] = {}
    put_sampler(found, sampler)
    names = {"Sampler": "Hires sampler", UNKNOWN_SAMPLER: "Unknown hires sampler"}
    parameters |= {names[key]: value for key, value in found.items() if key in names}


MAX_DEPTH = 200
"""Lists and objects inside each other, beyond which a text is taken for none."""

re_json_marks = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def closing(text: str, start: int) -> int | None:
    """Returns the place after the JSON list or object that begins at `start`; None if it never closes, or is too deep
    to be meant.
    """
    depth = 0
    for match in re_json_marks.finditer(text, start):
        if match[0] in ("[", "{"):
            depth += 1
        elif match[0] in ("]", "}"):
            depth -= 1
        if depth == 0:
            return match.end()
        if depth > MAX_DEPTH:
            break
    return None


def cut_json_values(line: str, keys: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Takes pairs whose value is bare JSON, commas and all, out of a line of pairs.

    Returns (the line without them, key -> value). A value that is no JSON is taken out too, as text.
    """
    values: dict[str, Any] = {}
    for key in keys:
        match = re.search(rf"(?:^|,)\s*{re.escape(key)}:\s*(?=[\[{{])", line)
        if match is None:
            continue
        closed = closing(line, match.end())
        end = len(line) if closed is None else closed
        raw = line[match.end() : end]
        try:
            values[key] = raw if closed is None else json.loads(raw)
        except (ValueError, RecursionError):
            values[key] = raw
        if values[key] is raw:
            logger.warning("Infotext: the value of %r is no valid JSON", key)
        line = (line[: match.start()] + "," + line[end:].lstrip(" ,")).strip(" ,")
    return line, values
