"""job: what is known of each image of a result, from where it is made to where it is saved, shown and logged.

A record lies on its image, so that no script that arranges the images of several jobs can take the two apart. Images
without one, as extensions' scripts may return them, get theirs from what the result says of all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from PIL import Image

from modules import infotext as infotexts

FROM_TEXT = {"seed": "Seed", "subseed": "Variation seed", "prompt": "Prompt", "negative_prompt": "Negative prompt"}
"""Field of a record -> key of an infotext."""

SEEDS = ("seed", "subseed")


@dataclass(frozen=True)
class ImageRecord:
    """What is known of one image of a result."""

    kind: Literal["image", "grid", "mask", "other"] = "other"
    infotext: str = ""
    seed: int | None = None
    subseed: int | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    file: str | None = None


def keep_record(image: Image.Image, kind: str, infotext: str = "", **known: Any) -> None:
    """Puts what is known of an image on it, where it stays however scripts arrange the images of several runs."""
    image.record = ImageRecord(kind, infotext, **known)


def record_of(image: Any) -> ImageRecord:
    """Returns what is known of an image, the file it was last written to included.

    A copy made by Pillow has no record, but still the parameters its source was to be saved with.
    """
    record = getattr(image, "record", None)
    if record is None:
        text = getattr(image, "info", {}).get("parameters")
        record = ImageRecord(infotext=text if isinstance(text, str) else "")
    return replace(record, file=getattr(image, "already_saved_as", None))


def records_of(result: Any) -> list[ImageRecord]:
    """Returns one record for each image of a result (`Processed`), and after them for each of its extra images."""
    said = vars(result)
    extra = {"info": said.get("info"), "seed": said.get("seed"), "prompt": said.get("prompt")}
    return [
        *completed([record_of(image) for image in result.images], said),
        *completed([record_of(image) for image in said.get("extra_images") or []], extra),
    ]


def images_made(result: Any) -> list[Image.Image]:
    """Returns the images of a job without its grid and its masks, each with a record."""
    made = []
    for image, record in zip(result.images, records_of(result), strict=False):
        if record.kind not in ("grid", "mask"):
            image.record = record
            made.append(image)
    return made


def first_record(result: Any) -> ImageRecord:
    """Returns what is known of the first image of a job, its grid aside; without images, what the result says."""
    found = records_of(result)[getattr(result, "index_of_first_image", 0) :]
    return found[0] if found else complete(ImageRecord(), 0, 1, vars(result))


def hand_on(record: ImageRecord, image: Image.Image, kind: str = "image", **changes: Any) -> None:
    """Puts on an image what is known of the one it was made from, whose file it is not, with some changes."""
    image.record = replace(record, kind=kind, file=None, **changes)


def completed(records: Sequence[ImageRecord], said: Mapping[str, Any]) -> list[ImageRecord]:
    """Returns records with what they lack taken from what a result says, whose lists may be missing, or be of any
    length.

    said: what `Processed.js()` says. A text it states for one image alone counts for more than the image's own, as
    hooks may have added to it.
    """
    return [complete(record, place, len(records), said) for place, record in enumerate(records)]


def complete(record: ImageRecord, place: int, count: int, said: Mapping[str, Any]) -> ImageRecord:
    """Returns the record of the image at one place of `count` with what it lacks."""
    common = said.get("info") or entry(said.get("infotexts") or [], 0) or ""
    text = own_text(record, place, count, said) or common
    lacking = [name for name in FROM_TEXT if getattr(record, name) is None]
    parts = infotexts.parse_infotext(text) if text and lacking else {}
    found = {}
    for name in lacking:
        from_text, from_list = parts.get(FROM_TEXT[name]), listed(said, name, place, count)
        # A text that all images have in common is that of the first.
        values = [from_list, from_text] if text == common else [from_text, from_list]
        value = next((value for value in [*values, said.get(name)] if value is not None), None)
        found[name] = number(value) if name in SEEDS else value
    return replace(record, infotext=text, **found)


def own_text(record: ImageRecord, place: int, count: int, said: Mapping[str, Any]) -> str:
    """Returns what is said of one image: the result's text for it alone, else its own; empty if there is none."""
    texts = said.get("infotexts") or []
    common = said.get("info") or entry(texts, 0) or ""
    stated = entry(texts, place) or ""
    is_own = stated not in ("", common) and (len(texts) == count or not record.infotext)
    return stated if is_own else record.infotext or stated


def listed(said: Mapping[str, Any], name: str, place: int, count: int) -> Any:
    """Returns what a result's list of one kind holds for an image; None if it has not one entry for each."""
    first = int(said.get("index_of_first_image") or 0)
    values = said.get(f"all_{name}s") or []
    return entry(values, place - first) if len(values) == count - first else None


def records_in(described: Mapping[str, Any], count: int) -> list[ImageRecord]:
    """Returns the records of `count` images from what a page was told of a result (`with_records`), or what
    `Processed.js()` says.
    """
    rows = [*(described.get("records") or []), *[{}] * count][:count]
    names = [field.name for field in fields(ImageRecord)]
    return completed([ImageRecord(**{name: row[name] for name in names if name in row}) for row in rows], described)


def with_records(result: Any) -> dict[str, Any]:
    """Returns what `Processed.js()` says of a result, with a record for each image that is shown."""
    return {**json.loads(result.js()), "records": [asdict(record) for record in records_of(result)]}


def entry(listed: Sequence[Any], place: int) -> Any:
    """Returns the entry at a place of a list, None where there is none."""
    return listed[place] if 0 <= place < len(listed) else None


def number(value: Any) -> int | None:
    """Returns a seed as a number, None where it is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
