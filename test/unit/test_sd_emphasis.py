import json
from pathlib import Path

import pytest
import torch

from modules import sd_emphasis

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "sampler_vectors.json").read_text(encoding="utf8"))[
    "emphasis"
]


def applied(option, z, multipliers):
    emphasis = sd_emphasis.get_current_option(option)()
    emphasis.z = z
    emphasis.multipliers = multipliers
    emphasis.after_transformers()
    return emphasis.z


@pytest.mark.parametrize("row", VECTORS["rows"], ids=lambda row: row["option"])
def test_vectors(row):
    z = torch.tensor(VECTORS["z (1,3,2)"]).reshape(1, 3, 2)
    out = applied(row["option"], z, torch.tensor([VECTORS["multipliers"]]))
    torch.testing.assert_close(out.flatten(), torch.tensor(row["out"]), rtol=1e-5, atol=1e-6)


def test_original_restores_the_mean_of_the_whole_batch():
    z = torch.arange(12.0).reshape(2, 3, 2)
    out = applied("Original", z, torch.tensor([[1.0, 2.0, 1.0], [1.0, 1.0, 1.0]]))
    assert out.mean() == pytest.approx(z.mean())
    assert not torch.equal(out[1], z[1])  # the text without weights is scaled, too


def test_unknown_option_is_the_original_one():
    assert sd_emphasis.get_current_option("nothing of the sort") is sd_emphasis.EmphasisOriginal


def test_descriptions_name_every_option():
    text = sd_emphasis.get_options_descriptions()
    assert all(f"{option.name}: {option.description}" in text for option in sd_emphasis.options)
    assert [option.name for option in sd_emphasis.options] == ["None", "Ignore", "Original", "No norm"]


ZERO_MEAN = torch.tensor([[[1.0, -1.0], [2.0, -2.0], [0.5, -0.5]]])


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [1.0, 1.5, 1.0]])
def test_mean_of_zero_is_not_divided_by(weights):
    out = applied("Original", ZERO_MEAN, torch.tensor([weights]))
    assert torch.equal(out, ZERO_MEAN * torch.tensor(weights)[None, :, None])


def test_weights_that_take_the_mean_away_scale_nothing_else():
    z = torch.tensor([[[1.0, 1.0], [2.0, 2.0]]])
    assert applied("Original", z, torch.tensor([[1.0, -0.5]])).tolist() == [[[1.0, 1.0], [-1.0, -1.0]]]


def test_mean_of_zero_before_weights_leaves_the_vectors_their_length():
    z = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]])
    assert applied("Original", z, torch.tensor([[2.0, 1.0]])).tolist() == [[[2.0, 2.0], [-1.0, -1.0]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_prompt_without_weights_is_not_scaled_at_all(dtype):
    z = torch.linspace(-0.3, 2.0, 77 * 8).reshape(1, 77, 8).to(dtype)
    assert torch.equal(applied("Original", z, torch.ones(1, 77)), z.float())
