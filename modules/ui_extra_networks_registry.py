"""face: which pages of extra networks there are, and in which order their tabs stand."""

from __future__ import annotations

from collections.abc import Sequence

from modules import shared
from modules.ui_extra_networks_checkpoints import ExtraNetworksPageCheckpoints
from modules.ui_extra_networks_hypernets import ExtraNetworksPageHypernetworks
from modules.ui_extra_networks_page import ExtraNetworksPage
from modules.ui_extra_networks_textual_inversion import ExtraNetworksPageTextualInversion

DEFAULT_PAGES = (ExtraNetworksPageTextualInversion, ExtraNetworksPageHypernetworks, ExtraNetworksPageCheckpoints)

extra_pages: list[ExtraNetworksPage] = []
allowed_dirs: set[str] = set()
"""Folders of all pages' previews."""


def initialize() -> None:
    """Forgets all pages."""
    extra_pages.clear()
    allowed_dirs.clear()


def register_page(page: ExtraNetworksPage) -> None:
    """Adds a page, in place of one of its name: their tabs would share ids.

    Extensions call it from on_before_ui, so that it is there when the tabs are built.
    """
    extra_pages[:] = [other for other in extra_pages if other.name != page.name]
    extra_pages.append(page)
    allowed_dirs.clear()
    allowed_dirs.update(directory for page in extra_pages for directory in page.allowed_directories_for_previews())


def register_default_pages() -> None:
    """Adds the pages that come with the program."""
    for page in DEFAULT_PAGES:
        register_page(page())


def pages_in_preferred_order(pages: Sequence[ExtraNetworksPage]) -> list[ExtraNetworksPage]:
    """Returns pages in the order of the setting ui_extra_networks_tab_reorder, a list of parts of their names; others
    last.
    """
    wanted = [part.strip().lower() for part in shared.opts.ui_extra_networks_tab_reorder.split(",") if part.strip()]

    def position(page: ExtraNetworksPage) -> int:
        """Returns the place of a page in the user's order."""
        return next((i for i, part in enumerate(wanted) if part in page.name), len(wanted))

    return sorted(pages, key=position)


def find_page(name: str) -> ExtraNetworksPage | None:
    """Returns the page of a name; None if there is none."""
    return next((page for page in extra_pages if page.name == name), None)
