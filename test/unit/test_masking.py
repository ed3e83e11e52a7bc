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
