"""base: reads what the launcher must know of the settings before the settings exist: which extensions are disabled."""

from __future__ import annotations

import json
import os
from typing import Any


def read_settings(settings_path: str) -> dict[str, Any]:
    """Returns the stored settings; a missing or damaged file counts as empty; loading them reports it."""
    try:
        with open(settings_path, encoding="utf8") as file:
            settings = json.load(file)
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def enabled_extensions(settings_path: str, extensions_dir: str) -> list[str]:
    """Returns the names of the extensions in extensions_dir that the settings leave enabled, sorted."""
    settings = read_settings(settings_path)
    if settings.get("disable_all_extensions", "none") != "none" or not os.path.isdir(extensions_dir):
        return []
    disabled = set(settings.get("disabled_extensions", []))
    return [name for name in sorted(os.listdir(extensions_dir)) if name not in disabled]
