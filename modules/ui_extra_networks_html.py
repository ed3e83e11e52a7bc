"""face: the HTML of a pane of extra networks: its controls, folders and cards. Strings in, strings out.

Every value that is put in is escaped here. `onclick` handlers name functions of javascript/extraNetworks*.js.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CARD = """\
<div class="card" onclick={card_clicked} data-name="{name}"{sort_keys}>
{background_image}
<div class="button-row">{copy_path_button}{metadata_button}{edit_button}</div>
<div class="actions">
<div class="additional">{search_terms}</div>
<button type="button" class="name">{name}</button>
<span class="description">{description}</span>
</div>
</div>"""
"""The card of a model. A click on it, or Enter on its name, runs `card_clicked`."""

TREE_DIRECTORY = """\
<li class="tree-list-item tree-list-item--has-subitem" data-tree-entry-type="dir">
<button type="button" class="tree-list-content tree-list-content-dir" data-path="{path}" aria-expanded="{expanded}" \
onclick="{onclick}"><span class="tree-list-item-action-chevron" aria-hidden="true"></span>\
<span class="tree-list-item-label">{label}</span></button>
<ul class="tree-list tree-list--subgroup">{content}</ul>
</li>"""

TREE_FILE = """\
<li class="tree-list-item" data-tree-entry-type="file">
<button type="button" class="tree-list-content tree-list-content-file" data-name="{name}" data-path="{path}" \
onclick="{onclick}"><span class="tree-list-item-label">{name}</span></button>
</li>"""

DIRECTORY_BUTTON = """\
<button type="button" class="lg secondary gradio-button custom-button{extra_class}" onclick="{onclick}">{label}</button>
"""

CONTROLS = """\
<div id="{id}_controls" class="extra-network-control" role="group" aria-label="{title}: search and order" hidden>
<input type="search" id="{id}_extra_search" class="extra-network-control--search-text" placeholder="Search" \
aria-label="Search {title}" autocomplete="off">
<span class="extra-network-control--sort-label" aria-hidden="true">Sort:</span>
<div class="extra-network-control--sorts">{sort_buttons}</div>
{direction_button}{folders_button}{refresh_button}
</div>"""

CONTROL_BUTTON = """\
<button type="button" id="{id}" class="extra-network-control--button {classes}" title="{title}" aria-label="{title}"\
{attributes} onclick="{onclick}"><i class="extra-network-control--icon"></i></button>"""

PANE = """\
<div id="{id}_pane" class="extra-network-pane" style="{variables}" data-sort-key="{sort_key}" \
data-sort-direction="{sort_direction}">
{controls}
<div class="extra-network-pane-content extra-network-pane-content-{view}">
<div id="{id}_{view}" class="extra-network-{view}"{folders_attributes}>{folders}</div>
<div id="{id}_cards" class="extra-network-cards">{cards}</div>
</div>
</div>"""

SORTS = {
    "Path": ("path", "default", "Sort by path"),
    "Name": ("name", "name", "Sort by name"),
    "Date Created": ("date_created", "date_created", "Sort by date created"),
    "Date Modified": ("date_modified", "date_modified", "Sort by date modified"),
}
"""Value of the setting extra_networks_card_order_field: (end of the button's id, key of the cards, tooltip)."""

LOADING = "<div class='nocards'><p>Loading...</p></div>"


def quote_js(s: Any) -> str:
    """Returns a JavaScript expression for a text."""
    return json.dumps(str(s), ensure_ascii=False)


def call(function: str, *arguments: Any, event: bool = False) -> str:
    """Returns the value of an onclick attribute that calls a function with texts, after the event if it takes that."""
    expressions = [*(["event"] if event else []), *map(quote_js, arguments)]
    return html.escape(f"{function}({', '.join(expressions)})")


def card_button(kind: str, title: str, onclick: str, data: str = "") -> str:
    """Returns one of the small buttons in the corner of a card; a click on it is none on the card."""
    return (
        f'<button type="button" class="{kind}-button card-button" title="{html.escape(title)}" '
        f'aria-label="{html.escape(title)}" onclick="{onclick}"{data}></button>'
    )


def copy_path_button(filename: str) -> str:
    """Returns the button of a card that copies the path of its file."""
    data = f' data-clipboard-text="{html.escape(filename)}"'
    return card_button("copy-path", "Copy the path", call("extraNetworksCopyCardPath", event=True), data)


def metadata_button(page_name: str) -> str:
    """Returns the button of a card that shows what its file says of itself."""
    return card_button(
        "metadata", "Show what the file says of itself", call("extraNetworksRequestMetadata", page_name, event=True)
    )


def edit_button(tabname: str, page_tabname: str) -> str:
    """Returns the button of a card that opens the editor of notes."""
    return card_button(
        "edit", "Edit notes and preview", call("extraNetworksEditUserMetadata", tabname, page_tabname, event=True)
    )


def sort_attributes(sort_keys: Mapping[str, Any]) -> str:
    """Returns the attributes that cards are sorted by."""
    return "".join(f' data-sort-{html.escape(key)}="{html.escape(str(value))}"' for key, value in sort_keys.items())


def search_terms(terms: Iterable[str], search_only: bool) -> str:
    """Returns the texts a search looks at; cards with `search_only` are shown by a long enough search alone."""
    classes = "hidden-term search_terms search_only" if search_only else "hidden-term search_terms"
    return "".join(f'<span class="{classes}">{html.escape(term)}</span>' for term in terms if term)


def preview_image(source: str | None) -> str:
    """Returns the image of a card; empty without an address."""
    return f'<img class="preview" src="{html.escape(source)}" loading="lazy" alt="">' if source else ""


def nothing_here(title: str, directories: Iterable[str]) -> str:
    """Returns what is shown instead of cards when there are none."""
    places = "".join(f"<li>{html.escape(directory)}</li>" for directory in directories)
    return (
        f"<div class='nocards'><p>No {html.escape(title)} found. Put files into one of these folders, "
        f"then refresh:</p><ul>{places}</ul></div>"
    )


@dataclass(frozen=True)
class PaneStyle:
    """What the settings say about all panes. view: "tree" or "dirs". variables: of CSS."""

    view: str
    is_view_enabled: bool
    variables: Mapping[str, str]
    sort_field: str
    is_descending: bool


def controls(tabname: str, page_tabname: str, title: str, style: PaneStyle) -> str:
    """Returns the search field and buttons, which the page's script moves beside the row of tabs."""
    pane_id = f"{tabname}_{page_tabname}"

    def button(name: str, kind: str, title: str, function: str, attributes: str = "") -> str:
        """Returns a button of the pane's controls."""
        return CONTROL_BUTTON.format(
            id=html.escape(f"{pane_id}_extra_{name}"),
            classes=f"extra-network-control--{kind}",
            title=html.escape(title),
            attributes=attributes,
            onclick=call(function, tabname, page_tabname, event=True),
        )

    def pressed(is_pressed: bool) -> str:
        """Returns the attribute of a button that stays pressed."""
        return f' aria-pressed="{str(is_pressed).lower()}"'

    sorts = "".join(
        button(
            f"sort_{name}",
            "sort",
            tooltip,
            "extraNetworksControlSortOnClick",
            f' data-sortkey="{key}"{pressed(field == style.sort_field)}',
        )
        for field, (name, key, tooltip) in SORTS.items()
    )
    direction = "Descending" if style.is_descending else "Ascending"
    return CONTROLS.format(
        id=html.escape(pane_id),
        title=html.escape(title),
        sort_buttons=sorts,
        direction_button=button(
            "sort_dir",
            "sort-dir",
            "Reverse the order",
            "extraNetworksControlSortDirOnClick",
            f' data-sortdir="{direction}"',
        ),
        folders_button=button(
            "tree_view",
            "tree-view",
            "Show folders",
            "extraNetworksControlTreeViewOnClick",
            pressed(style.is_view_enabled),
        ),
        refresh_button=button("refresh", "refresh", "Refresh", "extraNetworksControlRefreshOnClick"),
    )


def pane(tabname: str, page_tabname: str, title: str, style: PaneStyle, folders: str, cards: str) -> str:
    """Returns a whole pane. folders: the tree or the row of buttons."""
    return PANE.format(
        id=html.escape(f"{tabname}_{page_tabname}"),
        controls=controls(tabname, page_tabname, title, style),
        view=style.view,
        sort_key=SORTS.get(style.sort_field, SORTS["Path"])[1],
        sort_direction="Descending" if style.is_descending else "Ascending",
        folders_attributes="" if style.is_view_enabled else " hidden",
        variables=html.escape("; ".join(f"{name}: {value}" for name, value in style.variables.items())),
        folders=folders,
        cards=cards,
    )


def directory_buttons(tabname: str, page_tabname: str, directories: Iterable[str]) -> str:
    """Returns a button for each folder, after one for all; nothing when there are no folders."""
    directories = list(directories)
    onclick = html.escape(f"extraNetworksSearchButton({quote_js(tabname)}, {quote_js(page_tabname)}, event)")
    return "".join(
        DIRECTORY_BUTTON.format(
            extra_class="" if directory else " search-all", onclick=onclick, label=html.escape(directory or "all")
        )
        for directory in (["", *directories] if directories else [])
    )
