"""The maths of soft inpainting."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent.parent


def load(path):
    import sys

    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


soft = load(ROOT / "extensions-builtin" / "soft-inpainting" / "soft_inpainting.py")
SETTINGS = soft.SoftInpaintingSettings(1, 0.5, 4, 0, 0.5, 2)


def test_step_mask_nears_white_as_noise_falls():
    mask = torch.tensor([0.0, 0.25, 1.0])
    assert soft.step_mask(mask, torch.tensor(4.0), SETTINGS).tolist() == [0.0, 0.0625, 1.0]
    assert soft.step_mask(mask, torch.tensor(0.0), SETTINGS).tolist() == [1.0, 1.0, 1.0]


def test_blend_is_one_of_both_at_the_ends_of_the_mask():
    a, b = torch.randn(2, 1, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    assert soft.latent_blend(a, b, torch.zeros(4, 2, 2), 4.0) == pytest.approx(a, abs=1e-4)
    assert soft.latent_blend(a, b, torch.ones(4, 2, 2), 4.0) == pytest.approx(b, abs=1e-4)


def test_blend_has_the_power_mean_of_both_lengths():
    a = torch.zeros(1, 2, 1, 1)
    b = torch.zeros(1, 2, 1, 1)
    a[0, 0], b[0, 1] = 3.0, 4.0
    blended = soft.latent_blend(a, b, torch.full((2, 1, 1), 0.5), 2.0)
    assert torch.linalg.vector_norm(blended) == pytest.approx(((9 + 16) / 2) ** 0.5, abs=1e-4)
    assert blended.flatten()[1] / blended.flatten()[0] == pytest.approx(4 / 3)


def test_kernel_falls_to_nothing_at_its_margin():
    assert soft.KERNEL.shape == (5, 5)
    assert soft.KERNEL[2, 2] == 1
    assert soft.KERNEL[2, 0] == pytest.approx((np.exp(-4 / 2.25) - np.exp(-4)) / (1 - np.exp(-4)))
    assert soft.gaussian_kernel(3, 1.5, 2)[3, 0] == pytest.approx(0, abs=1e-12)


def test_filter_keeps_a_flat_map():
    flat = np.full((6, 5), 3.0)
    for low, high in ((0.9, 1.0), (0.25, 0.75)):
        assert soft.weighted_histogram_filter(flat, soft.KERNEL, low, high) == pytest.approx(flat)


def test_upper_window_spreads_large_values_and_the_middle_one_drops_them():
    point = np.zeros((9, 9))
    point[4, 4] = 1.0
    assert soft.weighted_histogram_filter(point, soft.KERNEL, 0.9, 1.0)[4, 6] > 0
    assert soft.weighted_histogram_filter(point, soft.KERNEL, 0.9, 1.0)[4, 7] == 0
    assert soft.weighted_histogram_filter(point, soft.KERNEL, 0.25, 0.75)[4, 4] == 0


@pytest.mark.parametrize(
    ("total", "low", "high", "expected"),
    [
        (8.0, 0.25, 0.75, (2.0, 6.0)),
        (4.0, 0.9, 1.0, (3.0, 4.0)),
        (2.0, 0.4, 0.6, (0.5, 1.5)),
        (0.8, 0.25, 0.75, (0.0, 1.0)),
    ],
)
def test_window_has_a_weight_of_one_at_least(total, low, high, expected):
    start, end = soft.window(np.array(total), low, high)
    assert (float(start), float(end)) == pytest.approx(expected)


def test_filter_by_hand():
    values = np.array([[1.0, 2.0, 4.0]])
    kernel = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    # weights 2, 3, 2; the window takes the upper half
    assert soft.weighted_histogram_filter(values, kernel, 0.5, 1.0)[0] == pytest.approx([2.0, 10 / 3, 4.0])
    assert soft.weighted_histogram_filter(values, kernel * 0, 0.5, 1.0)[0] == pytest.approx([0, 0, 0])


def test_mask_scalar():
    mask = np.array([0.0, 0.25, 1.0])
    assert soft.mask_scalar(mask, SETTINGS) == pytest.approx([0.5 / 0.50001] * 3)
    by_mask = replace(SETTINGS, mask_influence=1.0, mask_blend_scale=1.0)
    assert soft.mask_scalar(mask, by_mask) == pytest.approx([1 / 1e-5, 0.5 / 0.50001, 0.0])


def test_what_has_not_changed_is_hidden_and_what_has_is_seen():
    original = torch.zeros(4, 8, 8)
    new = original.clone()
    new[:, :, 4:] = 5.0
    seen = soft.difference_mask(original, new, torch.ones(8, 8), SETTINGS)
    assert seen[4, 0] == pytest.approx(0)
    assert seen[4, 7] == pytest.approx(1, abs=0.01)
    assert (np.diff(seen[4]) >= -1e-9).all()


def test_threshold_is_where_half_is_seen():
    settings = replace(SETTINGS, difference_threshold=2.0 * 0.50001 / 0.5)
    seen = soft.difference_mask(torch.zeros(4, 8, 8), torch.ones(4, 8, 8), torch.ones(8, 8), settings)
    assert seen == pytest.approx(np.full((8, 8), 0.5))


@pytest.mark.parametrize("contrast", [0, 2])
def test_threshold_of_nothing_gives_no_nans(contrast):
    settings = replace(SETTINGS, difference_threshold=0.0, difference_contrast=contrast)
    new = torch.zeros(4, 8, 8)
    new[0, 0, 0] = 1
    assert np.isfinite(soft.difference_mask(torch.zeros(4, 8, 8), new, torch.ones(8, 8), settings)).all()
