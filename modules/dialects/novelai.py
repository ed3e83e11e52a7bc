"""base: NovelAI: a description, and its settings as JSON, in text chunks or hidden in the pixels."""

from __future__ import annotations

from typing import Any

from modules.dialects import base
from modules.dialects.base import TEXT_CHUNKS, Chunks, Dialect, Reading

CLIP_SKIP = 2
ENSD = 31337
"""Clip skip and seed delta of the first models; the later ones are built otherwise and have neither."""

LATER_MODELS = ("XL", "NovelAI Diffusion V")
"""What is in the field Source of the later models."""


def is_novelai(chunks: Chunks) -> bool:
    """Tells whether NovelAI wrote it."""
    text = chunks.get("stealth", *TEXT_CHUNKS)
    return chunks.get("Software") == "NovelAI" or (
        base.is_json_object(text, "Software", "Comment") and "NovelAI" in text
    )


def read_novelai(chunks: Chunks) -> Reading:
    """Reads NovelAI's settings."""
    texts: Any = chunks.texts
    if "Comment" not in texts:
        texts = base.read_json(chunks.get("stealth", *TEXT_CHUNKS), "the hidden metadata of NovelAI")
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
    model = base.text_of(texts.get("Source"))
    if "v4_prompt" not in source and not any(name in model for name in LATER_MODELS):
        parameters |= {"Clip skip": CLIP_SKIP, "ENSD": ENSD}
    for key, name in {"SMEA": "sm", "SMEA DYN": "sm_dyn"}.items():
        base.put(parameters, key, True if source.get(name) is True else None)
    prompt = base.text_of(texts.get("Description")) or base.text_of(source.get("prompt"))
    return Reading(
        with_characters(prompt, source.get("v4_prompt")),
        with_characters(base.text_of(source.get("uc")), source.get("v4_negative_prompt")),
        parameters,
    )


def with_characters(prompt: str, of_model_4: Any) -> str:
    """Returns a prompt with those of its characters, each on a line of its own, as models since V4 have them apart."""
    caption = of_model_4.get("caption") if isinstance(of_model_4, dict) else None
    caption = caption if isinstance(caption, dict) else {}
    characters = caption.get("char_captions")
    characters = [entry for entry in characters if isinstance(entry, dict)] if isinstance(characters, list) else []
    texts = [prompt or base.text_of(caption.get("base_caption"))]
    texts += [base.text_of(entry.get("char_caption")) for entry in characters]
    return "\n".join(filter(None, texts))


DIALECTS = (Dialect("NovelAI", is_novelai, read_novelai),)
