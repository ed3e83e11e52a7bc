"""Sizes of grown pictures, and noise that continues a picture."""

from __future__ import annotations

import numpy as np
import pytest

from modules import outpainting
from modules.errors import InvalidInput
from modules.outpainting import Margins


def test_margins_on_sides():
    assert Margins.on_sides(8, ["left", "up"]) == Margins(left=8, up=8)
    assert Margins.on_sides(8, "left") == Margins(left=8)
    for unknown in (["left", "sideways"], "leftright", [None]):
        with pytest.raises(InvalidInput, match="no direction"):
            Margins.on_sides(8, unknown)


@pytest.mark.parametrize(
    ("size", "margins", "target", "fitted"),
    [
        ((128, 128), Margins(64, 64, 0, 0), (256, 128), Margins(64, 64, 0, 0)),
        ((100, 128), Margins(8, 8, 0, 0), (128, 128), Margins(14, 14, 0, 0)),
        ((100, 100), Margins(8, 0, 0, 8), (128, 128), Margins(28, 0, 0, 28)),
        ((100, 100), Margins(0, 0, 8, 16), (128, 128), Margins(0, 0, 9, 19)),
        ((100, 64), Margins(), (128, 64), Margins()),
    ],
)
def test_margins_grow_to_whole_cells(size, margins, target, fitted):
    assert margins.target(*size) == target
    assert margins.fitted(*size) == fitted


def test_mask_is_black_in_the_hole_with_its_corners():
    mask = outpainting.mask_around((4, 3), (1, 1, 2, 2), "L")
    assert np.array(mask).tolist() == [[255, 255, 255, 255], [255, 0, 0, 255], [255, 0, 0, 255]]
    assert outpainting.mask_around((4, 3), (1, 1, 2, 2)).mode == "RGB"
    assert outpainting.mask_around((4, 3), (2, 1, 1, 2), "L").getextrema() == (255, 255)


def test_spectrum_can_be_inverted():
    image = np.random.default_rng(1).random((6, 4, 3))
    values = outpainting.spectrum(image)
    assert outpainting.from_spectrum(values).real == pytest.approx(image)
    assert np.abs(values).argmax() // 3 == 3 * 4 + 2  # the mean is in the middle
    assert (np.abs(values) ** 2).sum() == pytest.approx((image**2).sum())


def test_low_pass_is_one_in_the_middle():
    window = outpainting.low_pass(4, 8)
    assert window.shape == (4, 8, 1)
    assert window[2, 4, 0] == 1.0
    assert window[0, 4, 0] == window[2, 2, 0] == 0.5
    assert window[2, 0, 0] == 0.2


def test_matched_values_have_the_distribution_of_the_reference():
    values = np.array([3.0, 1.0, 2.0, 4.0])
    assert outpainting.match_histogram(values, np.array([10.0, 40.0, 20.0, 30.0])).tolist() == [30, 10, 20, 40]
    assert outpainting.match_histogram(values, np.array([5.0, 5.0])).tolist() == [5, 5, 5, 5]


@pytest.fixture
def half():
    """A picture with its right half missing."""
    image = np.random.default_rng(2).random((16, 16, 3)) * 0.5 + 0.25
    mask = np.zeros((16, 16, 3))
    mask[:, 8:] = 1
    return image * (1 - mask), mask


def test_noise_keeps_what_is_known_and_has_its_colours(half):
    image, mask = half
    filled = outpainting.get_matched_noise(image, mask, 1.0, 0.05)
    assert (filled[:, :8] == image[:, :8]).all()
    assert filled[:, 8:].min() >= 0.25
    assert filled[:, 8:].max() <= 0.75
    assert filled[:, 8:].mean(axis=(0, 1)) == pytest.approx(image[:, :8].mean(axis=(0, 1)), abs=0.01)
    assert (filled == outpainting.get_matched_noise(image, mask, 1.0, 0.05)).all()


def test_exponent_and_colour_variation_change_the_noise(half):
    image, mask = half
    filled = outpainting.get_matched_noise(image, mask)
    assert not np.allclose(filled, outpainting.get_matched_noise(image, mask, noise_q=2.0))
    assert not np.allclose(filled, outpainting.get_matched_noise(image, mask, color_variation=1.0))


def test_black_picture_gives_no_nans():
    black, mask = np.zeros((8, 8, 3)), np.ones((8, 8, 3))
    mask[:4] = 0
    assert np.isfinite(outpainting.get_matched_noise(black, mask)).all()
    assert np.isfinite(outpainting.get_matched_noise(black, np.ones((8, 8, 3)))).all()
