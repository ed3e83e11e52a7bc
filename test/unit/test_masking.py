import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules import masking

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "test_vectors.json").read_text(encoding="utf8"))


@pytest.fixture
def mask():
    image = Image.new("L", (200, 100))
    image.paste(255, (50, 40, 70, 60))
    return image


@pytest.mark.parametrize("pad", [0, 32, 64])
def test_crop_region_vectors(mask, pad):
    expected = tuple(VECTORS["crop_region"][f"pad{pad}"])
    assert masking.get_crop_region_v2(mask, pad) == expected
    assert masking.get_crop_region(mask, pad) == expected
    assert masking.get_crop_region(np.array(mask), pad) == expected


def test_black_mask_has_no_region():
    mask = Image.new("L", (200, 100))
    assert masking.get_crop_region_v2(mask, 8) is None
    assert masking.get_crop_region(mask, 8) == (192, 92, 8, 8)


@pytest.mark.parametrize("row", VECTORS["expand_crop_region"], ids=lambda row: str(row["region"]))
def test_expand_vectors(row):
    assert masking.expand_crop_region(row["region"], *row["proc"], *row["image"]) == tuple(row["out"])


def test_fill_spreads_the_surroundings_over_the_masked_part():
    image = Image.new("RGB", (64, 64), (200, 30, 60))
    image.paste((0, 255, 0), (16, 16, 48, 48))
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    filled = masking.fill(image, mask)
    assert filled.mode == "RGB"
    assert filled.getpixel((0, 0)) == (200, 30, 60)
    assert np.abs(np.array(filled.getpixel((32, 32))) - (200, 30, 60)).max() <= 2


@pytest.mark.parametrize("pad", [0, 5, 1000])
def test_region_of_a_single_pixel_grows_by_its_padding(pad):
    mask = Image.new("L", (40, 30))
    mask.putpixel((39, 0), 1)
    expected = (max(39 - pad, 0), 0, 40, min(1 + pad, 30))
    assert masking.get_crop_region_v2(mask, pad) == expected


def test_region_of_a_white_mask_is_all_of_it():
    assert masking.get_crop_region_v2(Image.new("L", (40, 30), 255), 7) == (0, 0, 40, 30)


@pytest.mark.parametrize("processed", [(512, 512), (768, 512), (512, 768), (64, 640)])
@pytest.mark.parametrize("region", [(10, 10, 20, 20), (0, 0, 5, 90), (80, 5, 100, 12), (0, 90, 100, 100)])
def test_expanded_region_holds_the_old_one_and_stays_inside(region, processed):
    x1, y1, x2, y2 = masking.expand_crop_region(region, *processed, 100, 100)
    assert 0 <= x1 <= region[0] and region[2] <= x2 <= 100
    assert 0 <= y1 <= region[1] and region[3] <= y2 <= 100


def test_expanded_region_has_the_shape_it_is_processed_at():
    x1, y1, x2, y2 = masking.expand_crop_region((400, 400, 500, 420), 512, 768, 1000, 1000)
    assert (x2 - x1) / (y2 - y1) == pytest.approx(512 / 768, rel=0.02)


def test_region_that_already_fits_stays():
    assert masking.expand_crop_region((10, 10, 30, 40), 512, 768, 100, 100) == (10, 10, 30, 40)


def test_fill_without_a_mask_changes_nothing():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    assert np.array_equal(np.asarray(masking.fill(image, Image.new("L", (16, 16)))), np.asarray(image))


def test_fill_of_everything_has_nothing_to_spread():
    filled = masking.fill(Image.new("RGB", (16, 16), "red"), Image.new("L", (16, 16), 255))
    assert filled.getextrema() == ((0, 0),) * 3


def test_fill_takes_each_side_from_its_neighbours():
    image = Image.new("RGB", (96, 32), "red")
    image.paste("blue", (64, 0, 96, 32))
    mask = Image.new("L", (96, 32))
    mask.paste(255, (32, 0, 64, 32))
    filled = masking.fill(image, mask)
    left, right = filled.getpixel((34, 16)), filled.getpixel((61, 16))
    assert left[0] > left[2]
    assert right[2] > right[0]
