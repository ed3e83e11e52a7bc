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
