"""face: a page of extra networks: what kind of model it lists, how an item is found, described and shown as a card.

Extensions derive from `ExtraNetworksPage`, which they know as `ui_extra_networks.ExtraNetworksPage`, and override
`refresh`, `list_items`, `create_item` and `allowed_directories_for_previews`.
"""

from __future__ import annotations

import base64
import binascii
import functools
import io
import json
import logging
import os
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image, UnidentifiedImageError

from modules import errors, extra_networks, shared, ui_extra_networks_user_metadata, util
from modules import ui_extra_networks_html as html_parts
from modules.ui_extra_networks_html import quote_js as quote_js

logger = logging.getLogger(__name__)

default_allowed_preview_extensions: list[str] = ["png", "jpg", "jpeg", "webp", "gif"]

COVER_IMAGES_KEY = "ssmd_cover_images"
"""Key of a model file's metadata with images: a JSON list of base64 texts."""


@functools.cache
def allowed_preview_extensions_with_extra(extra_extensions: tuple[str, ...] | None = None) -> list[str]:
    """Returns the endings of previews, those given after the default ones."""
    return list(dict.fromkeys([*default_allowed_preview_extensions, *(extra_extensions or ())]))


def allowed_preview_extensions() -> list[str]:
    """Endings of preview images, without dot, in the order they are looked for."""
    return allowed_preview_extensions_with_extra((shared.opts.samples_format,))


@dataclass
class ExtraNetworksItem:
    """Leaf of the tree that `get_tree` makes."""

    item: dict[str, Any]


def path_is_parent(parent_path: str, child_path: str) -> bool:
    """Says whether a path leads into a folder; no link is followed, as users link folders of models."""
    parent, child = os.path.abspath(parent_path), os.path.abspath(child_path)
    return child != parent and child.startswith(os.path.join(parent, ""))


def get_tree(paths: str | list[str], items: dict[str, ExtraNetworksItem]) -> dict[str, Any]:
    """Returns the folders that hold items, nested: {path of a folder: {its folders and items by path}}.

    items: item by absolute path. A folder that lies in another of `paths` is part of that one's entry.
    """
    tree: dict[str, Any] = {}
    roots = {os.path.abspath(path) for path in ([paths] if isinstance(paths, str) else paths)}
    for root in sorted(root for root in roots if not any(path_is_parent(other, root) for other in roots)):
        for path in sorted((path for path in items if path_is_parent(root, path)), key=util.natural_sort_key):
            folder, content = root, tree.setdefault(root, {})
            for name in os.path.relpath(path, root).split(os.sep)[:-1]:
                folder = os.path.join(folder, name)
                content = content.setdefault(folder, {})
            content[path] = items[path]
    return tree


class ExtraNetworksPage:
    """One kind of model that a click puts into the prompt. A subclass overrides the methods up to
    `create_user_metadata_editor`; those after it are what it makes items of, and the HTML of the pane.

    title: of the tab. name: title in lower case, by which the page's requests name it. allow_prompt,
    allow_negative_prompt: which prompts a card's text may go to. items: by name, as the page was last listed. metadata:
    what the files say of themselves, by item name. lister: remembers folders while a page is listed.
    """

    card_tpl: str = html_parts.CARD

    def __init__(self, title: str):
        self.title = title
        self.name = title.lower()
        self.extra_networks_tabname = self.name.replace(" ", "_")
        self.allow_prompt = True
        self.allow_negative_prompt = False
        self.metadata: dict[str, Any] = {}
        self.items: dict[str, dict[str, Any]] = {}
        self.lister = util.MassFileLister()

    def refresh(self) -> None:
        """Looks for files anew."""

    def list_items(self) -> Iterable[dict[str, Any]]:
        """Yields all items, in the order they are shown if the user wants none."""
        raise NotImplementedError

    def create_item(self, name: str, index: int | None = None, enable_filter: bool = True) -> dict[str, Any] | None:
        """Returns an item, None if there is none or enable_filter leaves it out.

        An item is a dict with name, filename, preview, description, search_terms, local_preview, metadata, sort_keys
        and prompt, a JavaScript expression, or onclick, an attribute value with its quotes.
        """
        raise NotImplementedError

    def companion_of(self, item: dict[str, Any]) -> str | None:
        """Returns the path that what the user writes about an item is named after; its ending does not matter."""
        return item.get("filename")

    def allowed_directories_for_previews(self) -> list[str]:
        """Returns folders whose images the browser may see; the models lie in them."""
        return []

    def create_user_metadata_editor(self, ui: Any, tabname: str) -> ui_extra_networks_user_metadata.UserMetadataEditor:
        """Returns the editor of notes about an item."""
        return ui_extra_networks_user_metadata.UserMetadataEditor(ui, tabname, self)

    def read_user_metadata(self, item: dict[str, Any], use_cache: bool = True) -> None:
        """Adds to an item what the user has written about it; use_cache: trust what was listed of the folders."""
        lister = self.lister if use_cache else None
        metadata = extra_networks.get_user_metadata(self.companion_of(item), lister=lister)
        if isinstance(metadata.get("description"), str):
            item["description"] = metadata["description"]
        item["user_metadata"] = metadata

    def link_preview(self, filename: str) -> str:
        """Returns the address of an image; it changes when the image does."""
        mtime, _ = self.lister.mctime(filename)
        query = urllib.parse.urlencode({"filename": filename.replace("\\", "/"), "mtime": mtime})
        return f"./sd_extra_networks/thumb?{query}"

    def search_terms_from_path(self, filename: str, possible_directories: Iterable[str] | None = None) -> str:
        """Returns the part of a path that starts with the name of the page's folder; empty for a file elsewhere."""
        directories = self.allowed_directories_for_previews() if possible_directories is None else possible_directories
        for directory in map(os.path.abspath, directories):
            if path_is_parent(directory, filename):
                return os.path.relpath(os.path.abspath(filename), os.path.dirname(directory))
        return ""

    def get_sort_keys(self, path: str) -> dict[str, Any]:
        """Returns what cards can be sorted by. A file is as old as its content: moving or linking it renews only the
        second time, which the page calls that of modification.
        """
        mtime, ctime = self.lister.mctime(path)
        return {
            "date_created": int(mtime),
            "date_modified": int(ctime),
            "name": os.path.basename(path).lower(),
            "path": path.lower(),
        }

    def find_preview(self, path: str) -> str | None:
        """Returns the address of the image beside a model; path has no extension."""
        for extension in allowed_preview_extensions():
            for candidate in (f"{path}.{extension}", f"{path}.preview.{extension}"):
                if self.lister.exists(candidate):
                    return self.link_preview(candidate)
        return None

    def find_embedded_preview(self, path: str, name: str, metadata: dict[str, Any] | None) -> str | None:
        """Returns the address of the first image inside a model's file."""
        if not (metadata or {}).get(COVER_IMAGES_KEY):
            return None
        query = urllib.parse.urlencode({"page": self.name, "item": name})
        return f"./sd_extra_networks/cover-images?{query}"

    def cover_image(self, item: str, index: int) -> tuple[bytes, str]:
        """Returns an image inside a model's file and its media type; raises NotFound if there is none."""
        try:
            images = json.loads(self.metadata[item][COVER_IMAGES_KEY])
            data = base64.b64decode(images[index] if index >= 0 else "")
            with Image.open(io.BytesIO(data)) as image:
                return data, Image.MIME[image.format or "PNG"]
        except (KeyError, IndexError, TypeError, ValueError, binascii.Error, UnidentifiedImageError) as e:
            raise errors.NotFound(f"{item} has no cover image {index}", field="index") from e

    def find_description(self, path: str) -> str | None:
        """Returns the text beside a model; path has no extension."""
        for file in (f"{path}.txt", f"{path}.description.txt"):
            if not self.lister.exists(file):
                continue
            try:
                with open(file, encoding="utf-8", errors="replace") as f:
                    return f.read()
            except OSError as e:
                logger.warning("cannot read the description %s: %s", file, e.strerror)
        return None

    def create_html(self, tabname: str, *, empty: bool = False) -> str:
        """Returns the page's pane, listed anew; with `empty` only its frame, at once."""
        self.lister.reset()
        self.metadata = {}
        self.items = {item["name"]: item for item in ([] if empty else self.list_items()) if item is not None}
        for item in self.items.values():
            if item.get("metadata"):
                self.metadata[item["name"]] = item["metadata"]
            if "user_metadata" not in item:
                self.read_user_metadata(item)

        style = pane_style()
        create_folders = self.create_tree_view_html if style.view == "tree" else self.create_dirs_view_html
        pane = html_parts.pane(
            tabname,
            self.extra_networks_tabname,
            self.title,
            style,
            folders="" if empty else create_folders(tabname),
            cards=self.create_card_view_html(tabname, none_message=html_parts.LOADING if empty else None),
        )
        return util.sendable(pane)

    def create_card_view_html(self, tabname: str, *, none_message: str | None = None) -> str:
        """Returns all cards; without any none_message, by default one that names the folders."""
        cards = "".join(self.create_item_html(tabname, item, self.card_tpl) for item in self.items.values())
        if cards or none_message is not None:
            return cards or none_message
        return html_parts.nothing_here(self.title, self.allowed_directories_for_previews())

    def create_item_html(self, tabname: str, item: dict[str, Any], template: str | None = None) -> str | dict[str, str]:
        """Returns the card of an item, or its parts when there is no template; nothing for one that is never to be
        seen.
        """
        is_hidden = self.is_in_hidden_directory(item)
        if is_hidden and shared.opts.extra_networks_hidden_models == "Never":
            return "" if template else {}
        parts = self.card_parts(tabname, item, is_hidden and shared.opts.extra_networks_hidden_models != "Always")
        return template.format(**parts) if template else parts

    def card_parts(self, tabname: str, item: dict[str, Any], search_only: bool) -> dict[str, str]:
        """Returns what fills the template of a card, escaped."""
        escape, opts = html_parts.html.escape, shared.opts
        description = (item.get("description") or "") if opts.extra_networks_card_show_desc else ""
        return {
            "name": escape(item["name"]),
            "card_clicked": item.get("onclick") or self.prompt_onclick(tabname, item),
            "background_image": html_parts.preview_image(item.get("preview")),
            "description": description if opts.extra_networks_card_description_is_html else escape(description),
            "search_terms": html_parts.search_terms(item.get("search_terms") or [], search_only),
            "sort_keys": html_parts.sort_attributes(item.get("sort_keys") or {}),
            "copy_path_button": html_parts.copy_path_button(item.get("filename") or ""),
            "metadata_button": html_parts.metadata_button(self.name) if item.get("metadata") else "",
            "edit_button": html_parts.edit_button(tabname, self.extra_networks_tabname),
        }

    def prompt_onclick(self, tabname: str, item: dict[str, Any]) -> str:
        """Returns an onclick attribute value that toggles the item's text in the prompt; expressions are taken as they
        are.
        """
        expressions = (
            html_parts.quote_js(tabname),
            item.get("prompt") or '""',
            item.get("negative_prompt") or '""',
            "true" if self.allow_negative_prompt else "false",
        )
        onclick = html_parts.html.escape(f"return cardClicked({', '.join(expressions)});")
        return f'"{onclick}"'

    def is_in_hidden_directory(self, item: dict[str, Any]) -> bool:
        """Says whether an item lies in a folder below the page's whose name begins with a dot."""
        path = self.search_terms_from_path(item.get("filename") or "")
        return any(part.startswith(".") for part in path.split(os.sep)[1:])

    def create_tree_view_html(self, tabname: str) -> str:
        """Returns the folders and files as nested lists."""
        items = {
            os.path.abspath(item["filename"]): ExtraNetworksItem(item)
            for item in self.items.values()
            if item.get("filename")
        }
        tree = get_tree(self.allowed_directories_for_previews(), items)
        content = "".join(self.tree_entries(tabname, tree))
        return f'<ul class="tree-list tree-list--tree">{content}</ul>' if content else ""

    def tree_entries(self, tabname: str, tree: dict[str, Any]) -> Iterator[str]:
        """Yields the entries of a folder: folders first."""
        for path, entry in sorted(tree.items(), key=lambda pair: isinstance(pair[1], ExtraNetworksItem)):
            if isinstance(entry, ExtraNetworksItem):
                yield self.create_tree_file_item_html(tabname, path, entry.item)
            else:
                yield self.create_tree_dir_item_html(tabname, path, "".join(self.tree_entries(tabname, entry))) or ""

    def create_tree_dir_item_html(self, tabname: str, dir_path: str, content: str | None = None) -> str | None:
        """Returns a folder of the tree; None for one without content."""
        if not content:
            return None
        roots = [os.path.abspath(root) for root in self.allowed_directories_for_previews()]
        path = self.search_terms_from_path(dir_path) or os.path.basename(dir_path)
        return html_parts.TREE_DIRECTORY.format(
            path=html_parts.html.escape(os.path.join(path, "")),
            label=html_parts.html.escape(os.path.basename(dir_path)),
            expanded="true" if dir_path in roots else "false",
            onclick=html_parts.call("extraNetworksTreeOnClick", tabname, self.extra_networks_tabname, event=True),
            content=content,
        )

    def create_tree_file_item_html(self, tabname: str, file_path: str, item: dict[str, Any]) -> str:
        """Returns the entry of an item in the tree; empty for one that the settings hide."""
        if self.is_in_hidden_directory(item) and shared.opts.extra_networks_hidden_models != "Always":
            return ""
        return html_parts.TREE_FILE.format(
            name=html_parts.html.escape(item["name"]),
            path=html_parts.html.escape(self.search_terms_from_path(file_path)),
            onclick=html_parts.call("extraNetworksTreeOnClick", tabname, self.extra_networks_tabname, event=True),
        )

    def create_dirs_view_html(self, tabname: str) -> str:
        """Returns a button for each folder below the page's."""
        folders = dict.fromkeys(
            folder for root in self.allowed_directories_for_previews() for folder in subdirectories(root)
        )
        return html_parts.directory_buttons(tabname, self.extra_networks_tabname, folders)


def subdirectories(root: str) -> Iterator[str]:
    """Yields the folders below one, relative to it and as the settings want them written: with a separator at the end
    if they hold anything.
    """
    opts = shared.opts
    root = os.path.abspath(root)
    for path, folders, files in util.walk_folders(root):
        relative = os.path.relpath(path, root)
        is_hidden = any(part.startswith(".") for part in relative.split(os.sep))
        if path == root or (is_hidden and not opts.extra_networks_show_hidden_directories):
            continue
        prefix = os.sep if opts.extra_networks_dir_button_function else ""
        yield prefix + relative + (os.sep if folders or files else "")


def card_variables() -> dict[str, str]:
    """Returns CSS variables with the size of cards and their text, those the user has set."""
    opts = shared.opts
    variables = {
        "--card-width": opts.extra_networks_card_width and f"{opts.extra_networks_card_width}px",
        "--card-height": opts.extra_networks_card_height and f"{opts.extra_networks_card_height}px",
        "--card-text-scale": opts.extra_networks_card_text_scale != 1 and f"{opts.extra_networks_card_text_scale:g}",
    }
    return {name: value for name, value in variables.items() if value}


def pane_style() -> html_parts.PaneStyle:
    """Returns how panes look, as the settings say."""
    opts = shared.opts
    return html_parts.PaneStyle(
        view="tree" if opts.extra_networks_tree_view_style == "Tree" else "dirs",
        is_view_enabled=opts.extra_networks_tree_view_default_enabled,
        variables={"--tree-width": f"{opts.extra_networks_tree_view_default_width}px"} | card_variables(),
        sort_field=opts.extra_networks_card_order_field,
        is_descending=opts.extra_networks_card_order == "Descending",
    )
