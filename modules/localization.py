"""state: translations of the page: JSON files of a folder and of extensions, text -> translated text."""

from __future__ import annotations

import json
import os
from typing import Any

from modules import errors, extensions, shared, shared_items

localizations: dict[str, list[str]] = {}
"""Name of a language -> the files that make up its translation."""


def list_localizations(dirname: str) -> None:
    """Looks for translations in a folder and in the active extensions; files of the same name belong together."""
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
    return f"window.localization = {json.dumps(translation)}"


def refresh_localizations() -> None:
    """Looks for translations again, where --localizations-dir says."""
    list_localizations(shared.cmd_opts.localizations_dir)


shared_items.register("localizations", lambda: localizations, refresh_localizations)
