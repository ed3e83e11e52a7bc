"""The seam that fixes seeds and lays out prompts."""

import random

import pytest

from modules import prompt_seed_prep
from modules.processing import StableDiffusionProcessingTxt2Img


@pytest.mark.parametrize("given", [None, "", -1, "-1", "apple"])
def test_no_seed_becomes_a_random_one(given, monkeypatch):
    monkeypatch.setattr(random, "randrange", lambda limit: limit - 1)
    assert prompt_seed_prep.get_fixed_seed(given) == prompt_seed_prep.SEED_LIMIT - 1


@pytest.mark.parametrize(("given", "fixed"), [(0, 0), ("12", 12), (2**40, 2**40), ([5, 6], [5, 6])])
def test_a_given_seed_stays(given, fixed):
    assert prompt_seed_prep.get_fixed_seed(given) == fixed


def prepared(program, **fields):
    p = StableDiffusionProcessingTxt2Img(prompt="apple", n_iter=2, batch_size=2, **fields)
    prompt_seed_prep.prepare_prompt_seed_state(p)
    return p


def test_pictures_get_seeds_in_a_row(program):
    p = prepared(program, seed=10, subseed=20)
    assert p.all_seeds == [10, 11, 12, 13]
    assert p.all_subseeds == [20, 21, 22, 23]
    assert p.all_prompts == ["apple"] * 4 and p.all_negative_prompts == [""] * 4
    assert p.main_prompt == "apple"


def test_with_a_variation_only_the_variation_seed_differs(program):
    p = prepared(program, seed=10, subseed=20, subseed_strength=0.1)
    assert p.all_seeds == [10] * 4
    assert p.all_subseeds == [20, 21, 22, 23]


def test_lists_of_seeds_are_taken_as_they_are(program):
    p = prepared(program, seed=[3, 1, 4, 1], subseed=[2, 7, 1, 8])
    assert p.all_seeds == [3, 1, 4, 1] and p.all_subseeds == [2, 7, 1, 8]


def test_the_request_keeps_what_was_asked_for(program):
    p = prepared(program, seed=-1, subseed="")
    assert p.seed == -1 and p.subseed == ""
    assert p.all_seeds[1] == p.all_seeds[0] + 1


def test_fix_seed_is_shared_by_jobs_made_from_one_request():
    p = StableDiffusionProcessingTxt2Img(seed=-1, subseed="-1")
    prompt_seed_prep.fix_seed(p)
    fixed = p.seed, p.subseed
    assert -1 not in fixed
    prompt_seed_prep.fix_seed(p)
    assert (p.seed, p.subseed) == fixed
