"""face: has the page make all of its elements, those of tabs and accordions that nobody has opened included.

Scripts expect to find every element by its id, but Gradio's front end makes only what is shown. It would also make the
rest if asked for each block, one after the other, which takes seconds. So what is not shown at the start is divided
into a few pieces. Their blocks are sent with a visibility that the front end does not hold back ("hidden", or 1 where
that would show), and only their roots wait: one update makes a whole piece. Updates come while the browser is idle.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.blocks import BlockContext

PIECE_BLOCKS = 130
"""How many blocks a piece may have: what is made between two looks at the user."""


def children_of(block: Any) -> list[Any]:
    """Returns the blocks directly inside a block."""
    return list(getattr(block, "children", []))


def descendants(block: Any) -> Iterator[Any]:
    """Yields all blocks inside a block."""
    for child in children_of(block):
        yield child
        yield from descendants(child)


def is_chosen(tabs: gr.Tabs, position: int, tab: gr.Tab) -> bool:
    """Says whether a tab is the one that is open at the start."""
    return tab.id == tabs.selected if tabs.selected is not None else position == 0


def unseen_roots(block: Any) -> Iterator[Any]:
    """Yields the topmost blocks below `block` that nobody sees at the start: in other tabs, closed accordions, hidden
    groups.
    """
    for position, child in enumerate(children_of(block)):
        if isinstance(child, gr.Tab) and child.visible is False:
            continue
        if isinstance(block, gr.Tabs) and not is_chosen(block, position, child):
            child.page_visibility = 1
            yield from children_of(child)
        elif isinstance(block, gr.Accordion) and not block.open:
            yield child
        elif isinstance(child, BlockContext) and children_of(child) and child.visible is False:
            child.page_visibility = "hidden"
            yield child
        else:
            yield from unseen_roots(child)


def pieces_of(block: Any) -> Iterator[Any]:
    """Divides an unseen block: itself if it is small enough, else its parts, with itself no longer held back."""
    inside = list(descendants(block))
    if len(inside) < PIECE_BLOCKS or getattr(block, "page_visibility", True) == "hidden":
        for part in inside:
            part.page_visibility = 1 if isinstance(part, (gr.Tab, gr.components.Form)) else "hidden"
        yield block
        return
    block.page_visibility = 1
    for child in children_of(block):
        yield from pieces_of(child)


def last_id(piece: Any) -> str | None:
    """Returns the element id of the last control of a piece: once it is there, all are."""
    controls = [block for block in (piece, *descendants(piece)) if isinstance(block, gr.components.Component)]
    return next((control.elem_id for control in reversed(controls) if control.elem_id), None)


def grouped(pieces: list[Any]) -> Iterator[list[Any]]:
    """Yields consecutive pieces that together are no larger than one may be."""
    group: list[Any] = []
    size = 0
    for piece in pieces:
        blocks = 1 + sum(1 for _ in descendants(piece))
        if group and size + blocks > PIECE_BLOCKS:
            yield group
            group, size = [], 0
        group.append(piece)
        size += blocks
    if group:
        yield group


def reveal_hidden_blocks(demo: gr.Blocks) -> None:
    """Connects the load events that make the pieces. Call it last, inside the page."""
    pieces = [piece for root in unseen_roots(demo) for piece in pieces_of(root)]
    for group in grouped(pieces):
        ids = [name for name in map(last_id, group) if name]
        js = f"() => revealBlocks({len(group)}, {json.dumps(ids)})"
        demo.load(fn=None, inputs=None, outputs=group, js=js)
