import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from modules import image_ops
from modules.errors import InvalidInput

DATA = Path(__file__).parents[1] / "data"
GOLDEN = Path(__file__).parents[1] / "golden" / "inputs"
VECTORS = json.loads((DATA / "misc_vectors.json").read_text(encoding="utf8"))
TILES = json.loads((DATA / "test_vectors.json").read_text(encoding="utf8"))["split_grid"]


@pytest.fixture
def face():
    return Image.open(GOLDEN / "face128.png").convert("RGB")


def pixels(image):
    return np.asarray(image).tolist()


def vector_image():
    image = Image.new("RGB", (4, 3))
    for x in range(4):
        for y in range(3):
            image.putpixel((x, y), ((60 * x + 7 * y) % 256, (13 * x + 50 * y) % 256, (21 * x * y) % 256))
    return image


@pytest.mark.parametrize("row", VECTORS["resize_image"]["rows"], ids=lambda row: f"{row['mode']}-{row['size']}")
def test_resize_vectors(row):
    resized = image_ops.resize_image(row["mode"], vector_image(), *row["size"])
    assert np.asarray(resized).reshape(-1, 3).tolist() == row["pixels_row_major"]


def test_resizing_to_an_extreme_shape_keeps_a_pixel():
    assert image_ops.resize_image(2, Image.new("RGB", (1000, 1)), 8, 8).size == (8, 8)


def test_flatten_shows_the_background_where_transparent():
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (10, 20, 30, 0))
    assert pixels(image_ops.flatten(image, "#ff0000")) == [[[10, 20, 30], [255, 0, 0]]]
    assert image_ops.flatten(Image.new("L", (1, 1), 7), "#ff0000").getpixel((0, 0)) == (7, 7, 7)


def test_transparent_colour_of_a_palette_becomes_alpha():
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.putpixel((1, 0), 1)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=b"\x00\x80")
    fixed = image_ops.fix_png_transparency(Image.open(file))
    assert fixed.mode == "RGBA"
    assert fixed.getpixel((0, 0))[3] == 0
    assert image_ops.fix_png_transparency(Image.new("RGB", (1, 1))).mode == "RGB"


def test_fix_image_turns_by_exif_orientation():
    image = Image.new("RGB", (4, 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    assert image_ops.fix_image(Image.open(file)).size == (2, 4)


@pytest.mark.parametrize("row", VECTORS["image_grid"], ids=lambda row: str([*row.values()][:4]))
def test_grid_shape_vectors(row):
    shape = image_ops.grid_shape(
        row["images"], row["batch_size"], n_rows=row["n_rows"], prevent_empty_spots=row["prevent_empty_spots"]
    )
    assert list(shape) == row["rows_cols"]
    cells = [Image.new("RGB", (2, 1))] * row["images"]
    assert list(image_ops.compose_grid(cells, *shape, "#fff").size) == row["size_of_2x1_cells"]


def test_grid_shape_asked_for_wins():
    assert image_ops.grid_shape(6, 2, 3, n_rows=1) == (3, 2)
    assert image_ops.grid_shape(2, 2, 2.0**3) == (2, 1)


def test_small_pictures_are_centred_in_their_cell():
    grid = image_ops.compose_grid([Image.new("RGB", (3, 3), "red"), Image.new("RGB", (1, 1), "blue")], 1, 2, "#ffffff")
    assert grid.getpixel((4, 1)) == (0, 0, 255)
    assert grid.getpixel((3, 0)) == (255, 255, 255)


@pytest.mark.parametrize("row", TILES, ids=lambda row: str(row["in"]))
def test_split_vectors(row):
    width, height, tile_w, tile_h, overlap = row["in"]
    grid = image_ops.split_grid(Image.new("RGB", (width, height)), tile_w, tile_h, overlap)
    assert [y for y, _, _ in grid.tiles] == row["ys"]
    assert [x for x, _, _ in grid.tiles[0][2]] == row["xs"]


@pytest.mark.parametrize(("tile", "overlap"), [(48, 8), (64, 0), (100, 20), (200, 8)])
def test_split_and_combined_is_the_same_picture(face, tile, overlap):
    combined = image_ops.combine_grid(image_ops.split_grid(face, tile, tile, overlap))
    assert ImageChops.difference(combined, face).getbbox() is None


def test_tiles_fade_into_each_other():
    grid = image_ops.split_grid(Image.new("RGB", (30, 20)), 20, 20, 10)
    ((_, _, tiles),) = grid.tiles
    tiles[1][2] = Image.new("RGB", (20, 20), "white")
    row = [value[0] for value in pixels(image_ops.combine_grid(grid))[0]]
    assert row[:11] == [0] * 11
    assert row[10:20] == sorted(row[10:20]) and 200 < row[19] < 255
    assert row[20:] == [255] * 10


def test_binary_mask_of_alpha_and_of_grey():
    image = Image.new("RGBA", (3, 1), (255, 255, 255, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    image.putpixel((2, 0), (0, 0, 0, 129))
    assert pixels(image_ops.create_binary_mask(image)) == [[0, 0, 255]]
    assert pixels(image_ops.create_binary_mask(image, round=False)) == [[0, 128, 129]]
    assert pixels(image_ops.create_binary_mask(Image.new("RGBA", (1, 1), (9, 9, 9, 255)))) == [[9]]
    assert pixels(image_ops.create_binary_mask(Image.new("RGB", (1, 1), (9, 9, 9)))) == [[9]]


def test_overlay_covers_what_was_not_worked_on():
    overlay = Image.new("RGBA", (8, 8), (0, 0, 255, 255))
    overlay.paste((0, 0, 0, 0), (4, 0, 8, 8))
    result = Image.new("RGB", (16, 16), "red")
    image, before = image_ops.apply_overlay(result, (4, 0, 4, 8), overlay)
    assert image.mode == "RGB" and image.size == (8, 8)
    assert image.getpixel((0, 0)) == (0, 0, 255)
    assert image.getpixel((7, 7)) == (255, 0, 0)
    assert before.mode == "RGBA" and before.getpixel((0, 0))[3] == 0


def test_overlay_of_the_whole_picture_and_none():
    result = Image.new("RGB", (4, 4), "red")
    overlay = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert image_ops.apply_overlay(result, None, overlay)[0].getpixel((0, 0)) == (255, 0, 0)
    same, copy = image_ops.apply_overlay(result, None, None)
    assert same is result and copy is not result


def test_colours_come_from_the_target_and_light_from_the_picture(face):
    target = Image.new("RGB", (32, 32), (200, 60, 60))
    corrected = image_ops.apply_color_correction(image_ops.setup_color_correction(target), face)
    red, green, blue = np.asarray(corrected, dtype=int).reshape(-1, 3).mean(axis=0)
    assert red > green + 50 and red > blue + 50
    grey = np.abs(np.asarray(corrected.convert("L"), dtype=int) - np.asarray(face.convert("L"), dtype=int))
    assert grey.mean() < 3


def test_correction_by_itself_changes_almost_nothing(face):
    corrected = image_ops.apply_color_correction(image_ops.setup_color_correction(face), face)
    assert np.abs(np.asarray(corrected, dtype=int) - np.asarray(face, dtype=int)).max() <= 3


def test_luminosity_stays_in_range():
    dark_blue = np.full((1, 1, 3), (0, 0, 255), dtype=np.uint8)
    white, black = np.full((1, 1, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8)
    assert image_ops.blend_luminosity(dark_blue, white).min() >= 254
    assert image_ops.blend_luminosity(dark_blue, black).max() <= 1


@pytest.mark.parametrize("overlap", [48, 16, -1])
def test_overlap_that_no_tiles_can_have_is_refused(overlap):
    with pytest.raises(InvalidInput, match="choose 0 to"):
        image_ops.split_grid(Image.new("RGB", (30, 30)), 16, 16, overlap)


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("size", [(64, 64), (128, 96), (31, 200), (1, 1)])
def test_resized_image_has_the_size_asked_for(face, mode, size):
    assert image_ops.resize_image(mode, face, *size).size == size


def test_scaling_is_done_by_the_function_given(face):
    asked = []

    def resize(image, width, height):
        asked.append((width, height))
        return image_ops.resize_lanczos(image, width, height)

    for mode in range(3):
        image_ops.resize_image(mode, face, 256, 64, resize)
    assert asked[0] == (256, 64)
    assert asked[1] == (256, 256)  # covers, and is cut
    assert asked[2] == (64, 64)  # fits; what follows are the bands beside it


def test_covering_cuts_the_same_on_both_sides():
    image = Image.new("RGB", (300, 100), "green")
    image.paste("red", (0, 0, 100, 100))
    image.paste("blue", (200, 0, 300, 100))
    covered = image_ops.resize_image(1, image, 100, 100)
    assert covered.getpixel((50, 50)) == (0, 128, 0)
    assert covered.getpixel((3, 50)) == (0, 128, 0)


def test_bands_have_the_colours_of_the_edge():
    image = Image.new("RGB", (100, 100), "red")
    image.paste("blue", (50, 0, 100, 100))
    filled = image_ops.resize_image(2, image, 300, 100)
    assert filled.getpixel((10, 50)) == (255, 0, 0)
    assert filled.getpixel((290, 50)) == (0, 0, 255)


def test_uncropped_image_lies_in_its_box_alone(face):
    canvas = image_ops.uncrop(face, (200, 150), (20, 30, 64, 64))
    assert (canvas.mode, canvas.size) == ("RGBA", (200, 150))
    assert canvas.getchannel("A").getbbox() == (20, 30, 84, 94)


def test_histograms_are_matched_channel_by_channel():
    source = np.array([[[0, 10, 5], [1, 20, 5], [2, 30, 5]]], dtype=np.uint8)
    target = np.array([[[100, 1, 0], [150, 2, 0], [200, 3, 255]]], dtype=np.uint8)
    matched = image_ops.match_histograms(source, target)
    assert matched[0, :, 0].tolist() == [100, 150, 200]
    assert matched[0, :, 1].tolist() == [1, 2, 3]
    assert matched[0, :, 2].tolist() == [255] * 3


def test_histogram_matched_to_its_own_stays():
    pixels_of_noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert np.array_equal(image_ops.match_histograms(pixels_of_noise, pixels_of_noise), pixels_of_noise)


def test_light_of_one_and_colour_of_the_other():
    generator = np.random.default_rng(1)
    colours, light = generator.integers(60, 190, (2, 8, 8, 3), dtype=np.uint8)
    blended = image_ops.blend_luminosity(colours, light)
    luma = np.abs(blended @ image_ops.LUMA_WEIGHTS - light @ image_ops.LUMA_WEIGHTS)
    assert luma.max() <= 1.5


def test_grid_background_shows_where_no_image_is():
    grid = image_ops.compose_grid([Image.new("RGB", (2, 2), "red")] * 3, 2, 2, "#00ff00")
    assert grid.size == (4, 4)
    assert grid.getpixel((3, 3)) == (0, 255, 0)
    assert grid.getpixel((0, 3)) == (255, 0, 0)


def grey(dtype, *values):
    return Image.fromarray(np.array([values], dtype=dtype))


def reopened(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def two_colours(mode):
    """Black, and white; of a palette where the mode has one."""
    image = Image.new(mode, (2, 1))
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
    image.putpixel((1, 0), {"RGB": (255, 255, 255), "L": 255}.get(mode, 1))
    return image


@pytest.mark.parametrize(
    ("mode", "colour"), [("P", 0), ("P", b"\x00"), ("P", b"\x00\xff"), ("L", 0), ("1", 0), ("RGB", (0, 0, 0))]
)
def test_transparent_colour_of_every_mode_becomes_alpha(mode, colour):
    fixed = image_ops.fix_image(reopened(two_colours(mode), "PNG", transparency=colour))
    assert (fixed.mode, pixels(fixed)) == ("RGBA", [[[0, 0, 0, 0], [255, 255, 255, 255]]])
    assert "transparency" not in fixed.info


@pytest.mark.parametrize(
    ("file_format", "image", "levels"),
    [
        ("PNG", grey(np.uint16, 0, 30000, 65535), [0, 117, 255]),
        ("TIFF", grey(np.uint16, 0, 257, 65535), [0, 1, 255]),
        ("TIFF", grey(np.int32, -5, 100, 255), [0, 100, 255]),
        ("TIFF", grey(np.int32, 0, 257, 65535), [0, 1, 255]),
        ("TIFF", grey(np.int32, 0, 2**30, 2**31 - 1), [0, 128, 255]),
        ("TIFF", grey(np.float32, 0.0, 0.5, 1.0), [0, 128, 255]),
        ("TIFF", grey(np.float32, -1.0, 2.0, 255.0), [0, 2, 255]),
        ("TIFF", grey(np.float32, np.nan, np.inf, 0.2), [0, 255, 51]),
        ("TIFF", grey(np.float32, 0.0, 0.0, 0.0), [0, 0, 0]),
    ],
    ids=lambda value: getattr(value, "mode", str(value)),
)
def test_many_bits_become_eight(file_format, image, levels):
    fixed = image_ops.fix_image(reopened(image, file_format))
    assert (fixed.mode, list(fixed.get_flattened_data())) == ("L", levels)


@pytest.mark.parametrize(
    ("file_format", "image", "mode", "first"),
    [
        ("PNG", Image.new("LA", (2, 1), (90, 40)), "RGBA", (90, 90, 90, 40)),
        ("PNG", Image.new("1", (2, 1), 1), "L", 255),
        ("TIFF", Image.new("CMYK", (2, 1), (0, 255, 255, 0)), "RGB", (255, 0, 0)),
        ("TIFF", Image.new("LAB", (2, 1), (255, 128, 128)), "RGB", (255, 255, 255)),
    ],
    ids=["LA", "1", "CMYK", "LAB"],
)
def test_other_modes_become_those_everything_works_with(file_format, image, mode, first):
    fixed = image_ops.fix_image(reopened(image, file_format))
    assert fixed.mode == mode
    assert fixed.getpixel((0, 0)) == pytest.approx(first, abs=2)


def test_premultiplied_alpha_is_divided_out():
    image = Image.new("RGBA", (1, 1), (200, 100, 40, 128))
    assert image_ops.plain_mode(image.convert("RGBa")).getpixel((0, 0)) == pytest.approx((200, 100, 40, 128), abs=1)
    assert image_ops.plain_mode(Image.new("LA", (1, 1), (90, 255)).convert("La")).getpixel((0, 0)) == (90, 90, 90, 255)


def test_mode_changes_and_what_the_file_says_stays():
    image = grey(np.uint16, 0, 1)
    image.info = {"parameters": "apple", "transparency": 3}
    assert image_ops.plain_mode(image).info == {"parameters": "apple"}
    plain = Image.new("P", (1, 1))
    assert image_ops.plain_mode(plain) is plain


def test_flatten_shows_the_background_behind_every_kind_of_transparency():
    transparent = reopened(two_colours("P"), "PNG", transparency=0)
    assert pixels(image_ops.flatten(transparent, "#ff0000")) == [[[255, 0, 0], [255, 255, 255]]]
    assert image_ops.flatten(Image.new("LA", (1, 1), (9, 0)), "#ff0000").getpixel((0, 0)) == (255, 0, 0)
