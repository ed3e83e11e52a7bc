"""root: fills the slots of `shared` that need an engine or the page. Called once, at the start."""

from __future__ import annotations

import os


def initialize() -> None:
    """Registers what settings choose from, and makes what describes images."""
    from modules import initialize_util, interrogate, shared
    from modules.paths_internal import data_path

    shared.interrogator = interrogate.InterrogateModels(os.path.join(data_path, "interrogate"))
    initialize_util.configure_opts_onchange()
    shared.reload_hypernetworks()
