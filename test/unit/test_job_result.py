"""A finished job as data."""

import json

import pytest
from PIL import Image

from modules import processing, shared
from modules.job.result import KEYS, FinishedJob, described, first_seed


@pytest.fixture
def p(program):
    made = processing.StableDiffusionProcessingTxt2Img(prompt=["red apple", "pear"], negative_prompt="worm", width=64)
    made.comment("a remark")
    made.comment("a remark")
    return made


def test_what_the_run_has_worked_out_wins_over_what_was_asked(p):
    p.all_prompts, p.all_seeds = ["styled"], [7]
    result = FinishedJob(p, [], seed=3, infotexts=["text"])
    assert (result.all_prompts, result.all_seeds, result.all_negative_prompts) == (["styled"], [7], ["worm"])
    assert FinishedJob(p, [], all_prompts=["given"], all_seeds=[1]).all_prompts == ["given"]
    assert (result.prompt, result.width, result.comments) == ("red apple", 64, "a remark\n")


def test_every_image_has_the_infotext_unless_there_are_several(p):
    images = [Image.new("RGB", (1, 1))] * 2
    assert FinishedJob(p, images, info="one").infotexts == ["one", "one"]
    assert FinishedJob(p, images, info="one", infotexts=["a", "b"]).infotexts == ["a", "b"]


@pytest.mark.parametrize(("seed", "number"), [(None, -1), (5, 5), ("6", 6), ([7, 8], 7), (9.0, 9)])
def test_seeds_are_numbers(seed, number):
    assert first_seed(seed) == number


def test_the_face_restorer_is_told_where_it_was_used(p):
    assert FinishedJob(p, []).face_restoration_model is None
    p.restore_faces = True
    assert FinishedJob(p, []).face_restoration_model == shared.opts.face_restoration_model


def test_its_json_has_the_keys_of_the_api_in_their_order(p):
    p.extra_generation_params["called"] = lambda: None
    result = FinishedJob(p, [], seed=3, all_prompts=["styled"], all_negative_prompts=["bad"])
    info = json.loads(result.js())
    assert list(info) == KEYS == list(described(result))
    assert (info["prompt"], info["negative_prompt"], info["seed"]) == ("styled", "bad", 3)
    assert info["extra_generation_params"] == {"called": None}


def test_the_ratio_is_that_of_the_pass(p):
    p.token_merging_ratio, p.token_merging_ratio_hr = 0.2, 0.4
    result = FinishedJob(p, [])
    assert (result.get_token_merging_ratio(), result.get_token_merging_ratio(for_hr=True)) == (0.2, 0.4)


def test_it_is_what_extensions_know_as_processed(p):
    assert issubclass(processing.Processed, FinishedJob)
    assert processing.Processed(p, [], 5, "info").seed == 5
