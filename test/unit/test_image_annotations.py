import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from modules import image_annotations
from modules.image_annotations import AnnotationStyle, GridAnnotation
from modules.paths_internal import roboto_ttf_file

STYLE = AnnotationStyle(lambda size: ImageFont.truetype(roboto_ttf_file, size), "#000000", "#999999", "#ffffff")


def draw(hor, ver, margin=0, cell=64, columns=2, rows=2):
    grid = Image.new("RGB", (cell * columns, cell * rows), (0, 0, 255))
    return image_annotations.draw_grid_annotations(grid, cell, cell, hor, ver, margin, STYLE)


def texts(*words):
    return [[GridAnnotation(word)] for word in words]


def test_texts_get_room_above_and_left():
    image = draw(texts("Steps: 4", "Steps: 6"), texts("CFG Scale: 3.0", "CFG Scale: 9.0"))
    assert image.size == (176, 137)
    assert image.getpixel((48, 9)) == (0, 0, 255)
    assert image.getpixel((47, 9)) == (255, 255, 255)


def test_no_row_texts_need_no_room():
    image = draw(texts("a", "b"), texts("", ""))
    assert image.width == 128


def test_no_texts_leave_the_grid_as_it_is():
    assert draw(texts("", ""), texts("", "")).size == (128, 128)


def test_margin_parts_the_cells():
    image = draw(texts("", ""), texts("", ""), margin=10)
    assert image.size == (138, 138)
    assert image.getpixel((64, 0)) == (255, 255, 255)
    assert image.getpixel((74, 74)) == (0, 0, 255)


def test_inactive_text_is_struck_through():
    image = draw([[GridAnnotation("blurry", is_active=False)], [GridAnnotation("blurry")]], texts(""), rows=1)
    colors = {tuple(value) for value in np.asarray(image.crop((0, 0, 64, 9))).reshape(-1, 3).tolist()}
    assert (0x99, 0x99, 0x99) in colors and (0, 0, 0) not in colors


def test_long_texts_wrap_and_then_shrink():
    words = "several words that do not fit into one line"
    wide = "unbreakable" * 4
    image = draw([[GridAnnotation(words)], [GridAnnotation(wide)]], texts(""), rows=1)
    one_line = draw(texts("a", "b"), texts(""), rows=1)
    assert image.height > one_line.height + 6
    right_half = np.asarray(image.crop((64, 0, 128, image.height - 64)).convert("L"))
    assert right_half.min() < 250
    assert right_half[:, 0].min() == 255 and right_half[:, -1].min() == 255


STEPS_4 = (
    (0, 141, 128, 57, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 27, 161, 0),
    (0, 150, 170, 23, 0, 117, 116, 141, 101, 94, 0, 134, 127, 0, 0, 0, 101, 116, 0),
    (4, 22, 116, 84, 0, 165, 130, 116, 0, 119, 0, 90, 95, 0, 0, 26, 129, 172, 24),
    (1, 134, 129, 72, 0, 125, 98, 146, 108, 94, 5, 138, 134, 0, 0, 0, 0, 116, 0),
    (0, 0, 0, 0, 0, 0, 0, 116, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
)
"""Ink of "Steps: 4", 5 pixels high, as Pillow 9.5.0 drew it."""


def test_glyphs_that_touch_are_no_darker_than_each():
    canvas = Image.new("L", (40, 20), 255)
    font = STYLE.get_font(5)
    image_annotations._draw_line(ImageDraw.Draw(canvas), (20.5, 10.0), "Steps: 4", font, "#000000")
    drawn = 255 - np.asarray(canvas.crop((12, 8, 31, 13)), dtype=int)
    assert abs(drawn - np.array(STEPS_4)).max() <= 2


def test_dots_of_small_letters_touch_the_stem():
    canvas = Image.new("L", (10, 20), 255)
    image_annotations._draw_line(ImageDraw.Draw(canvas), (5.0, 10.0), "i", STYLE.get_font(5), "#000000")
    ink = (255 - np.asarray(canvas, dtype=int)).max(axis=1)
    assert list(ink[ink > 0]) == [56, 116, 116, 116]
    assert np.ptp(np.flatnonzero(ink)) == 3


@pytest.mark.parametrize(
    ("text", "height"), [("Denoising: 0.3", 137), ("in", 136), ("Seed: 3", 136), ("xs", 135), ("j", 137)]
)
def test_dots_take_no_room_of_their_own(text, height):
    assert draw(texts(text, ""), texts("", "")).height == height


def test_text_of_separate_glyphs_and_ligatures_is_as_pillow_draws_it():
    ours, theirs = (Image.new("RGB", (200, 60), "white") for _ in range(2))
    font = STYLE.get_font(30)
    image_annotations._draw_line(ImageDraw.Draw(ours), (100.25, 30.5), "fi H i H", font, "#800000")
    ImageDraw.Draw(theirs).text((100.25, 30.5), "fi H i H", font=font, fill="#800000", anchor="mm")
    assert abs(np.asarray(ours, dtype=int) - np.asarray(theirs)).max() <= 1


def test_wrong_number_of_texts_is_an_error():
    with pytest.raises(AssertionError, match="horizontal"):
        draw(texts("a"), texts("", ""))
    with pytest.raises(AssertionError, match="vertical"):
        draw(texts("a", "b"), texts(""))


def test_prompt_matrix_marks_the_parts_in_each_picture():
    hor, ver = image_annotations.prompt_matrix_texts(["a", "b", "c"])
    assert [[text.is_active for text in column] for column in hor] == [
        [False, False],
        [True, False],
        [False, True],
        [True, True],
    ]
    assert [[(text.text, text.is_active) for text in row] for row in ver] == [[("c", False)], [("c", True)]]
