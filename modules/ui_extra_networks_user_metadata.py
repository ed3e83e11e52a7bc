"""face: the editor of what a user notes about a model: description, notes and preview, kept beside the model's file."""

from __future__ import annotations

import datetime
import html
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from modules import errors, images, infotext_utils, sysinfo, ui_extra_networks_html, util


class UserMetadataEditor:
    """The popup of one page in one tab. Extensions override `create_editor`, `put_values_into_components` and
    `save_user_metadata` for controls of their own.

    ui: the tab's ExtraNetworksUi. page: the ExtraNetworksPage whose items are edited.
    """

    edit_name: gr.HTML
    edit_description: gr.Textbox
    html_filedata: gr.HTML
    html_preview: gr.HTML
    edit_notes: gr.TextArea
    html_status: gr.HTML
    button_cancel: gr.Button
    button_replace_preview: gr.Button
    button_save: gr.Button
    box: gr.Group
    edit_name_input: gr.Textbox
    button_edit: gr.Button

    def __init__(self, ui: Any, tabname: str, page: Any):
        self.ui = ui
        self.tabname = tabname
        self.page = page
        self.id_part = f"{tabname}_{page.extra_networks_tabname}_edit_user_metadata"

    def get_item(self, name: str) -> dict[str, Any]:
        """Returns the listed item of that name; raises NotFound if there is none."""
        item = self.page.items.get(name)
        if item is None:
            raise errors.NotFound(f"{self.page.title} has no item {name!r}", field="name")
        return item

    def get_user_metadata(self, name: str) -> dict[str, Any]:
        """Returns what is noted about an item; changes to it are kept with the item."""
        return self.page.items.get(name, {}).setdefault("user_metadata", {})

    # Building

    def create_ui(self) -> None:
        """Makes the hidden box of the editor, and the button and field with which the page opens it."""
        with gr.Group(visible=False, elem_id=self.id_part, elem_classes="edit-user-metadata") as self.box:
            self.edit_name_input = gr.Textbox(
                "Edit user metadata card id", visible=False, elem_id=f"{self.id_part}_name"
            )
            self.button_edit = gr.Button("Edit user metadata", visible=False, elem_id=f"{self.id_part}_button")
            self.create_editor()

    def create_editor(self) -> None:
        """Makes the fields and connects them; subclasses add theirs here."""
        self.create_default_editor_elems()
        self.edit_notes = gr.TextArea(label="Notes", lines=4, interactive=True)
        self.create_default_buttons()
        self.setup_edit_handler([self.edit_notes])
        self.setup_save_handler(self.button_save, self.save_user_metadata, [self.edit_description, self.edit_notes])

    def create_default_editor_elems(self) -> None:
        """Makes what all editors have: name, description, facts about the file, preview."""
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=240):
                self.edit_name = gr.HTML(elem_classes="extra-network-name")
                self.edit_description = gr.Textbox(label="Description", lines=4, interactive=True)
                self.html_filedata = gr.HTML()
                self.create_extra_default_items_in_left_column()
            with gr.Column(scale=1, min_width=160):
                self.html_preview = gr.HTML()

    def create_extra_default_items_in_left_column(self) -> None:
        """Makes controls of subclasses below the description."""

    def create_default_buttons(self) -> None:
        """Makes the row of buttons, and connects the one that cancels."""
        with gr.Row(elem_classes="edit-user-metadata-buttons"):
            self.button_cancel = gr.Button("Cancel")
            self.button_replace_preview = gr.Button("Replace preview", variant="primary")
            self.button_save = gr.Button("Save", variant="primary")
        self.html_status = gr.HTML(elem_classes="edit-user-metadata-status")
        self.button_cancel.click(fn=None, js="closePopup")

    def setup_edit_handler(self, extra_components: Sequence[gr.components.Component]) -> None:
        """Has the hidden button fill the editor and show it. extra_components: those of the values that
        `put_values_into_components` returns after the first four.
        """
        values = [self.edit_name, self.edit_description, self.html_filedata, self.html_preview, *extra_components]
        self.button_edit.click(
            fn=lambda name: [*self.put_values_into_components(name), "", gr.update(visible=True)],
            inputs=[self.edit_name_input],
            outputs=[*values, self.html_status, self.box],
            show_progress="hidden",
        ).then(fn=None, js=f'() => popupId("{self.id_part}")', show_progress="hidden")

    def setup_save_handler(
        self, button: gr.Button, func: Callable[..., None], components: Sequence[gr.components.Component]
    ) -> None:
        """Has a button call func(name, *values of components), close the editor and renew the card."""
        button.click(fn=func, inputs=[self.edit_name_input, *components], outputs=[], show_progress="hidden").success(
            fn=None, js=f"(name) => {{ closePopup(); {self.refresh_card_js()}; }}", inputs=[self.edit_name_input]
        )

    def refresh_card_js(self) -> str:
        """Returns JavaScript that has one card drawn anew."""
        quote = ui_extra_networks_html.quote_js
        return f"extraNetworksRefreshSingleCard({quote(self.page.name)}, {quote(self.tabname)}, name)"

    def setup_ui(self, gallery: gr.Gallery) -> None:
        """Has Replace preview take the selected image of a gallery."""
        self.button_replace_preview.click(
            fn=self.save_preview,
            js="(index, gallery, name) => [selected_gallery_index(), gallery, name]",
            inputs=[self.edit_name_input, gallery, self.edit_name_input],
            outputs=[self.html_preview, self.html_status],
            show_progress="hidden",
        ).success(fn=None, js=f"(name) => {{ {self.refresh_card_js()}; }}", inputs=[self.edit_name_input])

    # What is shown

    def relative_path(self, path: str) -> str:
        """Returns a path below the page's folders, as short as it can be said."""
        for parent in map(os.path.abspath, self.page.allowed_directories_for_previews()):
            if os.path.abspath(path).startswith(os.path.join(parent, "")):
                return os.path.relpath(path, parent)
        return os.path.basename(path)

    def get_metadata_table(self, name: str) -> list[tuple[str, str]]:
        """Returns facts about the file."""
        item = self.page.items.get(name, {})
        filename = item.get("filename")
        if not filename:
            return []
        facts = [("Filename", self.relative_path(filename))]
        try:
            stat = os.stat(filename)
        except OSError as e:
            return [*facts, ("Error", e.strerror or str(e))]
        modified = datetime.datetime.fromtimestamp(stat.st_mtime).strftime("%Y-%m-%d %H:%M")
        facts += [("File size", sysinfo.pretty_bytes(stat.st_size)), ("Hash", item.get("shorthash") or "")]
        return [*facts, ("Modified", modified)]

    def get_card_html(self, name: str) -> str:
        """Returns the item's preview as a card of its own."""
        image = ui_extra_networks_html.preview_image(self.page.items.get(name, {}).get("preview"))
        return f'<div class="card standalone-card">{image}</div>'

    def put_values_into_components(self, name: str) -> list[Any]:
        """Returns the values of name, description, file facts, preview and notes for an item."""
        metadata = self.get_user_metadata(name)
        found_description = self.page.items.get(name, {}).get("description") or ""
        rows = "".join(
            f"<tr><th scope='row'>{html.escape(label)}</th><td>{html.escape(value)}</td></tr>"
            for label, value in self.get_metadata_table(name)
        )
        return [
            html.escape(name),
            metadata.get("description", found_description),
            f"<table class='file-metadata'>{rows}</table>",
            self.get_card_html(name),
            metadata.get("notes", ""),
        ]

    # What is saved

    def write_user_metadata(self, name: str, metadata: dict[str, Any]) -> None:
        """Writes the JSON file beside an item's file."""
        path = os.path.splitext(self.page.companion_of(self.get_item(name)))[0] + ".json"
        try:
            util.write_text_atomically(path, json.dumps(metadata, indent=4, ensure_ascii=False))
        except OSError as e:
            raise gr.Error(f"Cannot write {path}: {e.strerror}") from e
        self.page.lister.update_file_entry(path)

    def save_user_metadata(self, name: str, desc: str, notes: str) -> None:
        """Stores description and notes of a card."""
        metadata = self.get_user_metadata(name)
        metadata["description"] = desc
        metadata["notes"] = notes
        self.write_user_metadata(name, metadata)

    def save_preview(self, index: int | str, gallery: Sequence[Any] | None, name: str) -> tuple[str, str]:
        """Saves an image of the gallery, the first if none is selected, as an item's preview; (card, message)."""
        if not gallery:
            return self.get_card_html(name), "There is no picture in the gallery. Generate one, then try again."
        item = self.get_item(name)
        entry = gallery[min(max(int(index), 0), len(gallery) - 1)]
        save_preview_image(entry, item["local_preview"])
        self.page.lister.update_file_entry(item["local_preview"])
        item["preview"] = self.page.link_preview(item["local_preview"])
        return self.get_card_html(name), ""


def save_preview_image(entry: Any, path: str) -> None:
    """Saves an entry of a gallery with its infotext."""
    image = infotext_utils.image_from_url_text(entry)
    geninfo, _ = images.read_info_from_image(image)
    images.save_image_with_geninfo(image, geninfo, path)
