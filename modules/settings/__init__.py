"""state: definitions of all settings, as rows: one file per category, one dictionary per page. A new one is a row.

A row says default, label and, where the type of the default does not tell, the widget by name: a class of gradio or of
ui_components. Handlers of changes are attached by the modules that act on them, through `opts.onchange`.
"""

from __future__ import annotations

from modules.options import OptionInfo
from modules.settings import postprocessing, saving, stable_diffusion, system, training, uncategorised, user_interface

categories = {
    "saving": "Saving images",
    "sd": "Stable Diffusion",
    "ui": "User Interface",
    "system": "System",
    "postprocessing": "Postprocessing",
    "training": "Training",
}
"""Category id -> title, in the order of the settings page."""

pages = (saving, stable_diffusion, user_interface, system, postprocessing, training, uncategorised)


def all_options() -> dict[str, OptionInfo]:
    """Returns key -> definition, of every setting of the program."""
    return {key: info for module in pages for section in module.sections for key, info in section.items()}
