"""state: translations of the page: JSON files of a folder and of extensions, text -> translated text."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from modules import errors, extensions, shared, shared_items, util

localizations: dict[str, list[str]] = {}
"""Name of a language -> the files that make up its translation."""

DIGESTS_FILE = os.path.join(os.path.dirname(__file__), "localization_digests.json")


def list_localizations(dirname: str) -> None:
    """Looks for translations in a folder, made if there is none, and in the active extensions; files of the same name
    belong together.
    """
    os.makedirs(dirname, exist_ok=True)
    localizations.clear()
    in_folder = extensions.list_files(dirname, "", ".json")
    for file in [*in_folder, *extensions.list_scripts("localizations", ".json")]:
        paths = localizations.setdefault(os.path.splitext(file.filename)[0], [])
        if not any(os.path.exists(path) and os.path.samefile(path, file.path) for path in paths):
            paths.append(file.path)


def localization_js(current_localization_name: str) -> str:
    """Returns JavaScript that gives the page the translation of a language; an empty one where there is none."""
    translation: dict[str, Any] = {}
    for path in localizations.get(current_localization_name, []):
        try:
            with open(path, encoding="utf8") as file:
                translation |= json.load(file)
        except (OSError, ValueError, TypeError):
            errors.report(f"Could not read localization {path}", exc_info=True)
    return f"window.localization = {util.json_in_script(json.dumps(translation | in_our_words(translation)))}"


def digest(text: str) -> str:
    """Returns what a text of v1.10.1 is known by here: the start of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def known_digests() -> dict[str, dict[str, str]]:
    """Returns the digests of v1.10.1's texts: of labels by setting ("settings"), of others by our text ("texts")."""
    with open(DIGESTS_FILE, encoding="utf8") as file:
        return json.load(file)


def digests_of_our_texts() -> Iterator[tuple[str, str]]:
    """Yields (text of the page, digest of the text that v1.10.1 has in its place)."""
    for key, known in known_digests()["settings"].items():
        info = shared.opts.data_labels.get(key)
        if info is not None:
            yield info.label, known
    yield from known_digests()["texts"].items()


def in_our_words(translation: Mapping[str, Any]) -> dict[str, str]:
    """Returns translations of texts that the page words anew, taken from the entries for v1.10.1's texts.

    An entry for our own words goes before; one that repeats its key translates nothing.
    """
    translated = {
        digest(text): value for text, value in translation.items() if isinstance(value, str) and value not in ("", text)
    }
    return {
        text: translated[known]
        for text, known in digests_of_our_texts()
        if known in translated and translation.get(text, text) == text
    }


def refresh_localizations() -> None:
    """Looks for translations again, where --localizations-dir says."""
    list_localizations(shared.cmd_opts.localizations_dir)


shared_items.register("localizations", lambda: localizations, refresh_localizations)
