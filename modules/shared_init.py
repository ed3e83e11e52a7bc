"""root: fills the slots of `shared` that need an engine or the page. Called once, at the start."""

from __future__ import annotations


def initialize() -> None:
    """Register what settings choose from, and load the theme of the page."""
    from modules import initialize_util, shared

    initialize_util.configure_opts_onchange()
    shared.reload_hypernetworks()
