"""base: Draw Things: XMP, whose user comment is an object in JSON."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from modules.dialects import base
from modules.dialects.base import Chunks, Dialect, Reading, model_name
from modules.dialects.json_objects import weighted

USER_COMMENT = "{http://ns.adobe.com/exif/1.0/}UserComment"


def is_draw_things(chunks: Chunks) -> bool:
    """Tells whether Draw Things wrote it."""
    return "Draw Things" in chunks.get("xmp")


def user_comment(text: str) -> str:
    """Returns the user comment of an XMP packet: the text of an element, or an attribute."""
    if "<!" in text:  # entities can stand for a text of any length, and XMP has no use for them
        raise base.Unreadable("the XMP data declare a document type")
    try:
        root = ElementTree.fromstring(text[text.index("<") :].strip("\0 \n"))
    except (ElementTree.ParseError, ValueError, RecursionError) as e:
        raise base.Unreadable(f"the XMP data are damaged: {e}") from e
    for element in root.iter():
        if USER_COMMENT in element.attrib:
            return element.attrib[USER_COMMENT]
        if element.tag == USER_COMMENT:
            return "".join(element.itertext()).strip()
    return ""


def read_draw_things(chunks: Chunks) -> Reading:
    """Reads Draw Things' settings; "v2" holds those that its first versions had not."""
    source = base.read_json(user_comment(chunks.get("xmp")), "the comment of Draw Things")
    later = source.get("v2")
    later = later if isinstance(later, dict) else {}
    parameters: dict[str, Any] = {}
    base.put_numbers(parameters, source, {"Steps": "steps"})
    base.put_sampler(parameters, source.get("sampler"))
    base.put_numbers(parameters, source, {"CFG scale": "scale", "Seed": "seed"})
    base.put_size(parameters, *(base.text_of(source.get("size")).split("x") + [None, None])[:2])
    base.put(parameters, "Model", model_name(source.get("model")))
    strength = base.number(source.get("strength"))
    base.put(parameters, "Denoising strength", strength if strength is not None and strength < 1 else None)
    layers = base.whole(later.get("clipSkip"))
    base.put(parameters, "Clip skip", layers if layers is not None and layers > 1 else None)
    networks = source.get("lora") or later.get("loras")
    return Reading(
        base.text_of(source.get("c")),
        base.text_of(source.get("uc")),
        parameters,
        weighted(networks, ("model", "file", "name"), ("weight",)),
    )


DIALECTS = (Dialect("Draw Things", is_draw_things, read_draw_things),)
