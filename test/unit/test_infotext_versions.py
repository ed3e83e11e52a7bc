import json
from pathlib import Path

import pytest

from modules import infotext_versions

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "test_vectors.json").read_text(encoding="utf8"))


@pytest.mark.parametrize("row", VECTORS["parse_version"], ids=lambda row: str(row["in"]))
def test_parse_version_vectors(row):
    assert str(infotext_versions.parse_version(row["in"])) == row["out"]


def test_our_own_version_asks_for_no_old_behaviour():
    params = {"Version": "v1.10.1-serena-0.1.0", "Prompt": "[a:b:0.5]", "Sampler": "DDIM", "Refiner": "x"}
    infotext_versions.backcompat(params)
    assert params == {"Version": "v1.10.1-serena-0.1.0", "Prompt": "[a:b:0.5]", "Sampler": "DDIM", "Refiner": "x"}


@pytest.mark.parametrize(
    ("params", "added"),
    [
        (
            {"Version": "v1.5.2", "Prompt": "a [b:c:0.5]"},
            {"Old prompt editing timelines", "Downcast alphas_cumprod"},
        ),
        ({"Version": "1.5.0", "Prompt": "p", "Sampler": "PLMS"}, {"Pad conds v0", "Downcast alphas_cumprod"}),
        ({"Version": "v1.7.0-225-gabc", "Prompt": "p", "Refiner": "x"}, {"Refiner switch by sampling steps"}),
        ({"Version": "v1.8.0", "Prompt": "[a]", "Refiner": "x", "Sampler": "DDIM"}, set()),
        ({"Prompt": "[a]", "Sampler": "DDIM"}, set()),
    ],
)
def test_old_versions_get_their_old_behaviour(params, added):
    before = dict(params)
    infotext_versions.backcompat(params)
    assert params.keys() - before.keys() == added
    assert all(params[key] is True for key in added)
