"""face: has the page make all of its elements, those of tabs and accordions that nobody has opened included.

Scripts expect to find every element by its id, but Gradio's front end makes only what is shown, and the rest when its
tab or accordion is opened. What it holds back is divided into pieces, which it is asked for one after the other while
the browser is idle. Those of blocks with `comes_later` come after the page has told its scripts that it is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import gradio as gr
from gradio.blocks import BlockContext

PIECE_BLOCKS = 130
"""How many blocks a piece may have: what is made between two looks at the user."""

Piece = tuple[Any, bool]
"""A block that is held back, with all in it that is not held back by itself; whether it comes later than others."""


def children_of(block: Any) -> list[Any]:
    """Returns the blocks directly inside a block."""
    return list(getattr(block, "children", []))


def descendants(block: Any) -> Iterator[Any]:
    """Yields all blocks inside a block."""
    for child in children_of(block):
        yield child
        yield from descendants(child)


def is_open(block: Any, position: int, child: Any) -> bool:
    """Says whether the child at a position is seen at the start wherever the block around it is."""
    if isinstance(block, gr.Tabs):
        return child.id == block.selected if block.selected is not None else position == 0
    return not isinstance(block, gr.Accordion) or block.open


def is_hidden_group(block: Any) -> bool:
    """Says whether a block holds others and is hidden until an event shows it."""
    return isinstance(block, BlockContext) and bool(children_of(block)) and block.visible is False


def held_back(block: Any, is_late: bool = False) -> Iterator[Piece]:
    """Yields the pieces below a block that is made at the start, or with its own piece: what is in other tabs, closed
    accordions and hidden groups.
    """
    is_late = is_late or getattr(block, "comes_later", False)
    for position, child in enumerate(children_of(block)):
        if isinstance(child, gr.Tab) and child.visible is False:
            continue
        if not is_open(block, position, child):
            yield from divided(child, is_late)
        elif is_hidden_group(child):
            yield from hidden_group(child, is_late)
        else:
            yield from held_back(child, is_late)


def hidden_group(block: Any, is_late: bool) -> Iterator[Piece]:
    """Yields a hidden group as a piece, and those in it. Its CSS class keeps it out of sight when it is made."""
    block.page_visibility = False
    yield block, is_late
    yield from held_back(block, is_late)


def divided(block: Any, is_late: bool) -> Iterator[Piece]:
    """Yields the pieces of a block that is held back: itself if it is small enough, else its parts. A tab itself is
    made at once, for its button and for scripts.
    """
    is_late = is_late or getattr(block, "comes_later", False)
    is_large = isinstance(block, (gr.Row, gr.Column, gr.Tabs)) and sum(1 for _ in descendants(block)) >= PIECE_BLOCKS
    if is_hidden_group(block):
        yield from hidden_group(block, is_late)
    elif is_large or (isinstance(block, gr.Tab) and block.visible is not False):
        block.page_visibility = 1  # what is true the front end holds back
        for child in children_of(block):
            yield from divided(child, is_late)
    elif not isinstance(block, gr.Tab):
        yield block, is_late
        yield from held_back(block, is_late)


def last_id(piece: Any) -> str | None:
    """Returns the element id of the last control of a piece: once it is there, all are."""
    held = {id(block) for block, _ in held_back(piece)}
    controls = [block for block in made_with(piece, held) if isinstance(block, gr.components.Component)]
    return next((control.elem_id for control in reversed(controls) if control.elem_id), None)


def made_with(block: Any, held: set[int]) -> Iterator[Any]:
    """Yields a block and what comes with it, without what is held back by itself."""
    yield block
    for child in children_of(block):
        if id(child) not in held:
            yield from made_with(child, held)


def grouped(pieces: Iterable[Any]) -> Iterator[list[Any]]:
    """Yields consecutive pieces that together are no larger than one may be."""
    group: list[Any] = []
    size = 0
    for piece in pieces:
        held = {id(block) for block, _ in held_back(piece)}
        blocks = sum(1 for _ in made_with(piece, held))
        if group and size + blocks > PIECE_BLOCKS:
            yield group
            group, size = [], 0
        group.append(piece)
        size += blocks
    if group:
        yield group


def reveal_hidden_blocks(demo: gr.Blocks) -> None:
    """Connects the load events that make the pieces. Call it last, inside the page."""
    pieces = list(held_back(demo))
    for is_late in (False, True):
        for group in grouped(piece for piece, comes_later in pieces if comes_later == is_late):
            ids = [name for name in map(last_id, group) if name]
            js = f"() => {'revealLater' if is_late else 'revealBlocks'}({len(group)}, {json.dumps(ids)})"
            demo.load(fn=None, inputs=None, outputs=group, js=js)
