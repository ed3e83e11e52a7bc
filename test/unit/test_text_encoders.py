"""The table of text encoder kinds, and the rows that name them."""

import os

import pytest

from modules.model_families import DENOISER, FAMILIES, VAE
from modules.text_encoders import KINDS
from modules.text_encoders.clip import tokenizer_dir

ROWS = [(family.name, encoder) for family in FAMILIES for encoder in family.text_encoders]


NOT_SHIPPED = {"t5"}
"""Kinds whose vocabulary the user has to bring, or have downloaded; a model loads without them."""


@pytest.mark.parametrize(("family", "encoder"), ROWS, ids=[f"{family} {encoder.name}" for family, encoder in ROWS])
def test_row_of_an_encoder_can_be_built(family, encoder):
    assert encoder.kind in KINDS
    if encoder.kind in NOT_SHIPPED:
        assert encoder.optional
    else:
        assert {"vocab.json", "merges.txt"} <= set(os.listdir(tokenizer_dir(encoder)))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_modules_of_a_family_have_names_and_places_of_their_own(family):
    prefixes = family.prefixes
    assert len(prefixes) == 2 + len(family.text_encoders) + len(family.image_readers)
    assert {DENOISER, VAE} <= prefixes.keys()
    assert not any(a != b and a.startswith(b) for a in prefixes.values() for b in prefixes.values())
