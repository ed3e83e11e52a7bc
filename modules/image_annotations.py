"""pure: texts around a grid of images: columns above it, rows to its left.

Fonts and colours come as arguments. Sizes are pixels; drawn coordinates follow Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
STRIKE_WIDTH = 4

LOW_DOTS_SIZE = 8
"""Up to this font size the dots of i and j touch the stem, as in the FreeType of v1.10.1; today's moves them up."""

DOTLESS = str.maketrans("ij", "\u0131\u0237")


class GridAnnotation:
    """One text beside a grid; an inactive one is pale and struck through. size: of its drawn box, once laid out."""

    def __init__(self, text: str = "", is_active: bool = True):
        self.text = text
        self.is_active = is_active
        self.size: tuple[float, float] | None = None


@dataclass(frozen=True)
class AnnotationStyle:
    """How annotations look. get_font: font of a size in pixels."""

    get_font: Callable[[int], Font]
    active_color: str
    inactive_color: str
    background_color: str


@dataclass
class _TextBlock:
    """The wrapped lines of one column or row, with the width that each may take."""

    lines: list[GridAnnotation]
    allowed_width: float

    def height(self, line_gap: int = 0) -> float:
        """Returns the height of all lines, in pixels."""
        return sum(line.size[1] + line_gap for line in self.lines) - line_gap


def draw_grid_annotations(
    image: Image.Image,
    width: int,
    height: int,
    hor_texts: Sequence[Sequence[GridAnnotation]],
    ver_texts: Sequence[Sequence[GridAnnotation]],
    margin: int,
    style: AnnotationStyle,
) -> Image.Image:
    """Returns the grid image of cells width x height with a text list per column and row, cells margin apart, RGB.

    Raises AssertionError if there is not one list per column and per row.
    """
    columns, rows = image.width // width, image.height // height
    assert columns == len(hor_texts), f"bad number of horizontal texts: {len(hor_texts)}; must be {columns}"
    assert rows == len(ver_texts), f"bad number of vertical texts: {len(ver_texts)}; must be {rows}"

    font_size = (width + height) // 25
    line_gap = font_size // 2
    font = style.get_font(font_size)
    has_row_texts = any(text.text for texts in ver_texts for text in texts)
    pad_left = width * 3 // 4 if has_row_texts else 0

    column_blocks = [_lay_out(texts, width, font) for texts in hor_texts]
    row_blocks = [_lay_out(texts, pad_left, font) for texts in ver_texts]
    column_heights = [block.height(line_gap) for block in column_blocks]
    pad_top = 0 if sum(column_heights) == 0 else int(max(column_heights)) + line_gap * 2

    size = (image.width + pad_left + margin * (columns - 1), image.height + pad_top + margin * (rows - 1))
    canvas = Image.new("RGB", size, style.background_color)
    draw = ImageDraw.Draw(canvas)
    for row in range(rows):
        for column in range(columns):
            cell = image.crop((width * column, height * row, width * (column + 1), height * (row + 1)))
            canvas.paste(cell, (pad_left + (width + margin) * column, pad_top + (height + margin) * row))

    for column, block in enumerate(column_blocks):
        x = pad_left + (width + margin) * column + width / 2
        _draw_block(draw, block, x, pad_top / 2 - column_heights[column] / 2, font_size, line_gap, style)
    for row, block in enumerate(row_blocks):
        y = pad_top + (height + margin) * row + height / 2 - block.height() / 2
        _draw_block(draw, block, pad_left / 2, y, font_size, line_gap, style)
    return canvas


def prompt_matrix_texts(prompts: Sequence[str]) -> tuple[list[list[GridAnnotation]], list[list[GridAnnotation]]]:
    """Returns the column and row texts of all combinations of prompts; the first half varies along the columns."""
    half = (len(prompts) + 1) // 2

    def combinations(parts: Sequence[str]) -> list[list[GridAnnotation]]:
        """Returns the texts of every choice among some parts, a line for each part."""
        return [
            [GridAnnotation(part, is_active=bool(combination & (1 << bit))) for bit, part in enumerate(parts)]
            for combination in range(1 << len(parts))
        ]

    return combinations(prompts[:half]), combinations(prompts[half:])


def _lay_out(texts: Sequence[GridAnnotation], allowed_width: int, font: Font) -> _TextBlock:
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines = [GridAnnotation(line, text.is_active) for text in texts for line in _wrap(text.text, allowed_width, font)]
    for line in lines:
        left, top, right, bottom = draw.multiline_textbbox((0, 0), line.text, font=font)
        if font.size <= LOW_DOTS_SIZE:
            top = min(top + 1, draw.multiline_textbbox((0, 0), line.text.translate(DOTLESS), font=font)[1])
        line.size = (right - left, bottom - top)
    return _TextBlock(lines, allowed_width)


def _wrap(text: str, allowed_width: int, font: Font) -> list[str]:
    """Breaks text at white space, as late as possible. Words stay whole: a too long first one follows an empty line."""
    lines = [""]
    for word in text.split():
        line = f"{lines[-1]} {word}".strip()
        if font.getlength(line) <= allowed_width:
            lines[-1] = line
        else:
            lines.append(word)
    return lines


def _draw_block(
    draw: ImageDraw.ImageDraw,
    block: _TextBlock,
    x: float,
    y: float,
    font_size: int,
    line_gap: int,
    style: AnnotationStyle,
) -> None:
    """Draws the lines of a block one under the other, centred at x, starting at y."""
    for line in block.lines:
        width, height = line.size
        color = style.active_color if line.is_active else style.inactive_color
        font = _fitting_font(draw, line.text, block.allowed_width, font_size, style)
        _draw_line(draw, (x, y + height / 2), line.text, font, color)
        if not line.is_active:
            strike_y = y + height // 2
            draw.line((x - width // 2, strike_y, x + width // 2, strike_y), fill=color, width=STRIKE_WIDTH)
        y += height + line_gap


def _draw_line(draw: ImageDraw.ImageDraw, centre: tuple[float, float], text: str, font: Font, color: str) -> None:
    """Draws a text with its middle at centre. Where glyphs touch, the darker of them counts, as in the Pillow that
    v1.10.1 has; today's lays both over each other, which shows at the sizes that small images get.
    """
    bounds = draw.textbbox(centre, text, font=font, anchor="mm")
    left, top = math.floor(bounds[0]), math.floor(bounds[1])
    size = math.ceil(bounds[2]) - left + 1, math.ceil(bounds[3]) - top + 1
    middle, baseline = (font.getbbox(text, anchor=anchor) for anchor in ("mm", "ls"))
    start = centre[0] - left + middle[0] - baseline[0], centre[1] - top + middle[1] - baseline[1]

    empty = np.zeros(size[::-1], dtype=np.float32)
    steps = [(empty, empty)]  # ink of the text so far: as Pillow draws it, and with touching glyphs as wanted
    for end in range(1, len(text) + 1):
        canvas = Image.new("L", size)
        ImageDraw.Draw(canvas).text(start, text[:end], fill=255, font=font, anchor="ls")
        drawn = np.asarray(canvas, dtype=np.float32)
        while (drawn < steps[-1][0]).any():  # a ligature has taken the place of glyphs
            steps.pop()
        before, darkest = steps[-1]
        glyph = (drawn - before) * 255 / np.maximum(255 - before, 1)
        if text[end - 1] in "ij" and font.size <= LOW_DOTS_SIZE:
            _lower_dot(glyph)
        steps.append((drawn, np.maximum(darkest, np.minimum(glyph, 255))))
    draw.bitmap((left, top), Image.fromarray(steps[-1][1].round().astype(np.uint8)), fill=color)


def _lower_dot(glyph: NDArray[np.float32]) -> None:
    """Moves what is above the first empty row of a glyph (height, width) into that row, in place."""
    rows = np.flatnonzero(glyph.any(axis=1))
    gaps = np.flatnonzero(np.diff(rows) > 1)
    if gaps.size:
        top, dot_end = rows[0], rows[gaps[0]] + 1
        glyph[top + 1 : dot_end + 1] = glyph[top:dot_end].copy()
        glyph[top] = 0


def _fitting_font(
    draw: ImageDraw.ImageDraw, text: str, allowed_width: float, font_size: int, style: AnnotationStyle
) -> Font:
    """Returns the largest font, of font_size at most, in which text is not wider than allowed."""
    font = style.get_font(font_size)
    while font_size > 1:
        left, _, right, _ = draw.multiline_textbbox((0, 0), text, font=font)
        if right - left <= allowed_width:
            break
        font_size -= 1
        font = style.get_font(font_size)
    return font
