"""face: the panes of extra networks in the generation tabs: their place beside the form, and what their buttons do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import gradio as gr

from modules.ui_common import QUIET
from modules.ui_extra_networks_html import quote_js
from modules.ui_extra_networks_page import ExtraNetworksPage
from modules.ui_extra_networks_registry import extra_pages, pages_in_preferred_order
from modules.ui_extra_networks_user_metadata import UserMetadataEditor, save_preview_image


class ExtraNetworksUi:
    """The panes of one generation tab.

    pages: the component of each pane. stored_extra_pages: their pages, in the same order. page_contents: HTML of each,
    kept until a refresh.
    """

    def __init__(self, tabname: str):
        self.tabname = tabname
        self.pages: list[gr.HTML] = []
        self.page_contents: list[str] = []
        self.stored_extra_pages: list[ExtraNetworksPage] = []
        self.user_metadata_editors: list[UserMetadataEditor] = []
        self.button_save_preview: gr.Button | None = None
        self.preview_target_filename: gr.Textbox | None = None

    def create_html(self) -> list[str]:
        """Lists the files of all pages anew."""
        self.page_contents = [page.create_html(self.tabname) for page in self.stored_extra_pages]
        return self.page_contents

    def pages_html(self) -> list[str]:
        """Returns the HTML of all panes, listed only the first time."""
        return self.page_contents or self.create_html()

    def refresh(self) -> list[str]:
        """Looks for files anew and returns the HTML of all panes."""
        for page in self.stored_extra_pages:
            page.refresh()
        return self.create_html()


def create_ui(interface: gr.Blocks, unrelated_tabs: Iterable[gr.Tab], tabname: str) -> ExtraNetworksUi:
    """Adds a tab for each page beside `unrelated_tabs`, whose selection hides the pages' controls. Called inside the
    tab's gr.Tabs, within `interface`.
    """
    ui = ExtraNetworksUi(tabname)
    ui.stored_extra_pages = pages_in_preferred_order(extra_pages)
    tabs = [create_page(ui, page) for page in ui.stored_extra_pages]
    with tabs[-1]:
        create_preview_controls(ui)
    for tab in unrelated_tabs:
        tab.select(fn=None, js=f"() => extraNetworksUnrelatedTabSelected({quote_js(tabname)})", **QUIET)
    interface.load(fn=ui.pages_html, inputs=[], outputs=ui.pages, js="whenUiLoaded", **QUIET).then(
        fn=None, js=f"() => setupExtraNetworksForTab({quote_js(tabname)})", **QUIET
    )
    return ui


def create_page(ui: ExtraNetworksUi, page: ExtraNetworksPage) -> gr.Tab:
    """Makes the tab of one page with its pane, its editor and the hidden button that refreshes it."""
    page_id = f"{ui.tabname}_{page.extra_networks_tabname}"
    with gr.Tab(page.title, elem_id=page_id, elem_classes=["extra-page"]) as tab:
        gr.Column(elem_id=f"{page_id}_prompts", elem_classes=["extra-page-prompts"])
        ui.pages.append(gr.HTML(page.create_html(ui.tabname, empty=True), elem_id=f"{page_id}_cards_html"))
        editor = page.create_user_metadata_editor(ui, ui.tabname)
        editor.create_ui()
        ui.user_metadata_editors.append(editor)
        refresh = gr.Button("Refresh", elem_id=f"{page_id}_extra_refresh_internal", visible=False)

    rows = [page.allow_prompt, page.allow_negative_prompt]
    selected = ", ".join([quote_js(ui.tabname), quote_js(f"{page_id}_prompts"), *map(json.dumps, rows)])
    tab.select(fn=None, js=f"() => extraNetworksTabSelected({selected}, {quote_js(page_id)})", **QUIET)
    refresh.click(fn=ui.refresh, inputs=[], outputs=ui.pages, **QUIET).then(
        fn=None, js=f"() => setupExtraNetworksForTab({quote_js(ui.tabname)})", **QUIET
    )
    return tab


def create_preview_controls(ui: ExtraNetworksUi) -> None:
    """Makes what `saveCardPreview` of the page's script uses to make a result the preview of a card."""
    ui.button_save_preview = gr.Button("Save preview", elem_id=f"{ui.tabname}_save_preview", visible=False)
    ui.preview_target_filename = gr.Textbox(
        "Preview save filename", elem_id=f"{ui.tabname}_preview_filename", visible=False
    )


def setup_ui(ui: ExtraNetworksUi, gallery: gr.Gallery) -> None:
    """Connects what takes images from the tab's results."""

    def save_preview(index: str, images: Sequence[Any] | None, filename: str) -> list[str]:
        """Stores the selected result as the preview of a card, and returns the HTML of all panes."""
        items = [item for page in ui.stored_extra_pages for item in page.items.values()]
        if not any(item.get("local_preview") == filename for item in items):
            raise gr.Error(f"{filename} is not the preview of any card.")
        if not images:
            raise gr.Error("There is no picture in the gallery.")
        save_preview_image(images[min(max(int(index), 0), len(images) - 1)], filename)
        return ui.create_html()

    ui.button_save_preview.click(
        fn=save_preview,
        js="(index, gallery, filename) => [selected_gallery_index(), gallery, filename]",
        inputs=[ui.preview_target_filename, gallery, ui.preview_target_filename],
        outputs=ui.pages,
    )
    for editor in ui.user_metadata_editors:
        editor.setup_ui(gallery)


# A1111 names
from modules.ui_extra_networks_page import ExtraNetworksItem, allowed_preview_extensions, get_tree  # noqa: E402, F401
from modules.ui_extra_networks_registry import (  # noqa: E402, F401
    allowed_dirs,
    initialize,
    register_default_pages,
    register_page,
)
from modules.ui_extra_networks_routes import (  # noqa: E402, F401
    add_pages_to_demo,
    fetch_cover_images,
    fetch_file,
    get_metadata,
    get_single_card,
)
