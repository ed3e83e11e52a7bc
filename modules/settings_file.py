"""base: reads settings files, damaged ones as far as they go; what the launcher must know before there are settings."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import Any

re_before_key = re.compile(r"\s*[{,]\s*")
re_before_value = re.compile(r"\s*:\s*")


def read(path: str) -> tuple[dict[str, Any], str | None]:
    """Returns what a settings file holds and what is wrong with it, None if nothing is; a missing one holds nothing.

    Of a file that is cut off, or damaged in the middle, it is what stands before that place.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}, None
    except OSError as e:
        return {}, str(e)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        return complete_pairs(content[: e.start].decode("utf-8-sig")), str(e)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as e:
        return complete_pairs(text), str(e)
    if isinstance(values, dict):
        return values, None
    return {}, f"expected a JSON object, found {type(values).__name__}"


def complete_pairs(text: str) -> dict[str, Any]:
    """Returns the pairs of a JSON object up to the place where it is cut off or damaged."""
    decoder, pairs, place = json.JSONDecoder(), {}, 0
    with suppress(ValueError, RecursionError):
        while before_key := re_before_key.match(text, place):
            key, place = decoder.raw_decode(text, before_key.end())
            before_value = re_before_value.match(text, place)
            if before_value is None or not isinstance(key, str):
                break
            value, place = decoder.raw_decode(text, before_value.end())
            if not text[place : place + 99].strip():  # the cut may have made a number shorter
                break
            pairs[key] = value
    return pairs


def read_settings(settings_path: str) -> dict[str, Any]:
    """Returns the stored settings as far as they can be read; loading them reports what cannot."""
    return read(settings_path)[0]


def enabled_extensions(settings_path: str, extensions_dir: str) -> list[str]:
    """Returns the names of the extensions in extensions_dir that the settings leave enabled, sorted."""
    settings = read_settings(settings_path)
    if settings.get("disable_all_extensions") in ("extra", "all") or not os.path.isdir(extensions_dir):
        return []
    disabled = settings.get("disabled_extensions")
    disabled = disabled if isinstance(disabled, list) else []
    return [name for name in sorted(os.listdir(extensions_dir)) if name not in disabled]
