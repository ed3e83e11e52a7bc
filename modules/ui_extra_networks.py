"""face: panes of extra networks in the generation tabs: the registry of pages, their requests and their place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import gradio as gr
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import HTTPException
from fastapi.responses import FileResponse, JSONResponse, Response

from modules import errors, shared
from modules.ui_extra_networks_checkpoints import ExtraNetworksPageCheckpoints
from modules.ui_extra_networks_html import quote_js
from modules.ui_extra_networks_hypernets import ExtraNetworksPageHypernetworks
from modules.ui_extra_networks_page import (
    COVER_IMAGES_KEY,
    ExtraNetworksPage,
    allowed_preview_extensions,
    path_is_parent,
)
from modules.ui_extra_networks_textual_inversion import ExtraNetworksPageTextualInversion
from modules.ui_extra_networks_user_metadata import UserMetadataEditor, save_preview_picture

DEFAULT_PAGES = (ExtraNetworksPageTextualInversion, ExtraNetworksPageHypernetworks, ExtraNetworksPageCheckpoints)

extra_pages: list[ExtraNetworksPage] = []
allowed_dirs: set[str] = set()
"""Folders of all pages' previews."""

QUIET: dict[str, Any] = {"show_progress": "hidden"}


# The registry


def initialize() -> None:
    """Forgets all pages."""
    extra_pages.clear()
    allowed_dirs.clear()


def register_page(page: ExtraNetworksPage) -> None:
    """Adds a page. Extensions call it from on_before_ui, so that it is there when the tabs are built."""
    extra_pages.append(page)
    allowed_dirs.clear()
    allowed_dirs.update(directory for page in extra_pages for directory in page.allowed_directories_for_previews())


def register_default_pages() -> None:
    for page in DEFAULT_PAGES:
        register_page(page())


def pages_in_preferred_order(pages: Sequence[ExtraNetworksPage]) -> list[ExtraNetworksPage]:
    """Pages in the order of the setting ui_extra_networks_tab_reorder, a list of parts of their names; others last."""
    wanted = [part.strip().lower() for part in shared.opts.ui_extra_networks_tab_reorder.split(",") if part.strip()]

    def position(page: ExtraNetworksPage) -> int:
        return next((i for i, part in enumerate(wanted) if part in page.name), len(wanted))

    return sorted(pages, key=position)


def find_page(name: str) -> ExtraNetworksPage | None:
    return next((page for page in extra_pages if page.name == name), None)


# Requests

router = APIRouter(prefix="/sd_extra_networks", tags=["page"])


@router.get("/thumb", summary="Preview picture of an extra network")
def fetch_file(filename: str = "") -> FileResponse:
    """Sends a picture from the folders of the pages. Whatever else is asked for is not there: no answer tells whether
    a file outside of them exists. A link may lead elsewhere, as users link folders of models, but only to a picture.
    """
    real = os.path.realpath(filename)
    extensions = {os.path.splitext(path)[1].lower().lstrip(".") for path in (filename, real)}
    is_allowed = extensions.issubset(allowed_preview_extensions())
    if not is_allowed or not any(path_is_parent(x, filename) for x in allowed_dirs) or not os.path.isfile(real):
        raise HTTPException(status_code=404, detail="File not found")
    return FileResponse(real)


@router.get("/cover-images", summary="Picture inside the file of an extra network")
def fetch_cover_images(page: str = "", item: str = "", index: int = 0) -> Response:
    found = find_page(page)
    if found is None or item not in found.metadata:
        raise HTTPException(status_code=404, detail="Item not found")
    try:
        content, media_type = found.cover_image(item, index)
    except errors.NotFound as e:
        raise HTTPException(status_code=404, detail=str(e)) from e
    return Response(content, media_type=media_type)


@router.get("/metadata", summary="What the file of an extra network says of itself")
def get_metadata(page: str = "", item: str = "") -> JSONResponse:
    found = find_page(page)
    metadata = found.metadata.get(item) if found else None
    if metadata is None:
        return JSONResponse({})
    shown = {key: value for key, value in metadata.items() if key != COVER_IMAGES_KEY}
    return JSONResponse({"metadata": json.dumps(shown, indent=4, ensure_ascii=False)})


@router.get("/get-single-card", summary="Card of an extra network, read anew")
def get_single_card(page: str = "", tabname: str = "", name: str = "") -> JSONResponse:
    found = find_page(page)
    item = found.create_item(name, enable_filter=False) if found and name in found.items else None
    if item is None:
        raise HTTPException(status_code=404, detail="Item not found")
    found.items[name] = item
    found.read_user_metadata(item, use_cache=False)
    return JSONResponse({"html": found.create_item_html(tabname, item, found.card_tpl)})


def add_pages_to_demo(app: FastAPI) -> None:
    """Adds the routes the panes ask."""
    app.include_router(router)


# The tabs


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
        return self.page_contents or self.create_html()

    def refresh(self) -> list[str]:
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
    interface.load(fn=ui.pages_html, inputs=[], outputs=ui.pages, **QUIET).then(
        fn=None, js=f"() => setupExtraNetworksForTab({quote_js(tabname)})", **QUIET
    )
    return ui


def create_page(ui: ExtraNetworksUi, page: ExtraNetworksPage) -> gr.Tab:
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
    """What `saveCardPreview` of the page's script uses to make a result the preview of a card."""
    ui.button_save_preview = gr.Button("Save preview", elem_id=f"{ui.tabname}_save_preview", visible=False)
    ui.preview_target_filename = gr.Textbox(
        "Preview save filename", elem_id=f"{ui.tabname}_preview_filename", visible=False
    )


def setup_ui(ui: ExtraNetworksUi, gallery: gr.Gallery) -> None:
    """Connects what takes pictures from the tab's results."""

    def save_preview(index: str, images: Sequence[Any] | None, filename: str) -> list[str]:
        items = [item for page in ui.stored_extra_pages for item in page.items.values()]
        if not any(item.get("local_preview") == filename for item in items):
            raise gr.Error(f"{filename} is not the preview of any card.")
        if not images:
            raise gr.Error("There is no picture in the gallery.")
        save_preview_picture(images[min(max(int(index), 0), len(images) - 1)], filename)
        return ui.create_html()

    ui.button_save_preview.click(
        fn=save_preview,
        js="(index, gallery, filename) => [selected_gallery_index(), gallery, filename]",
        inputs=[ui.preview_target_filename, gallery, ui.preview_target_filename],
        outputs=ui.pages,
    )
    for editor in ui.user_metadata_editors:
        editor.setup_ui(gallery)


from modules.ui_extra_networks_page import ExtraNetworksItem, get_tree  # noqa: E402, F401  # A1111 names
