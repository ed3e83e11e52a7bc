"""face: the style sheet of the page: the files of css/, joined in an order where later rules override earlier ones."""

from __future__ import annotations

import os

from modules.paths import script_path

FILE_NAME = "style.css"
"""The name the page and extensions know it under, in the folder of the program; no file has it."""

PARTS = (
    "colours",
    "hiding",
    "frame",
    "quicksettings",
    "tabs",
    "fields",
    "buttons",
    "prompts",
    "columns",
    "accordions",
    "canvases",
    "results",
    "extra_networks",
    "tools",
    "settings",
    "extensions",
    "popups",
    "footer",
    "menus",
    "narrow",
    "jobs",
    "viewer",
    "aspect",
    "right_to_left",
)
"""Files of css/, as the page goes from top to bottom; then what depends on the window's width, lies
above all, or turns the page around."""


def paths() -> list[str]:
    """Returns the paths of the files, in their order."""
    return [os.path.join(script_path, "css", f"{part}.css") for part in PARTS]


def text() -> str:
    """Returns the style sheet as its files are now."""
    parts = []
    for path in paths():
        with open(path, encoding="utf8") as file:
            parts.append(file.read())
    return "\n".join(parts)


def webpath() -> str:
    """Returns its address for the page, with the time of the newest file so that a changed one is fetched."""
    return f"file={FILE_NAME}?{max(map(os.path.getmtime, paths()))}"
