"""What is known of an image stays with it, and is found for images that carry nothing."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from modules.job import records
from modules.job.records import ImageRecord, completed, keep_record, record_of, records_in, records_of
from modules.processing import Processed, StableDiffusionProcessingTxt2Img


def image(*record, **known):
    made = Image.new("RGB", (2, 2))
    if record:
        keep_record(made, *record, **known)
    return made


def text(seed, prompt="apple"):
    return f"{prompt}\nSteps: 2, Sampler: Euler, CFG scale: 7.0, Seed: {seed}, Size: 8x8"


@pytest.fixture
def p(program):
    return StableDiffusionProcessingTxt2Img(prompt="apple", negative_prompt="worm", seed=500)


def test_what_is_known_of_an_image_stays_on_it(tmp_path):
    made = image()
    assert record_of(made) == ImageRecord()
    keep_record(made, "image", "text", seed=1, subseed=2)
    assert record_of(made) == ImageRecord("image", "text", 1, 2)
    made.already_saved_as = str(tmp_path / "a.png")
    assert record_of(made).file == str(tmp_path / "a.png")
    assert record_of("no image").kind == "other"


def test_a_copy_is_known_by_the_parameters_it_would_be_saved_with():
    made = image("image", text(7), seed=7)
    made.info["parameters"] = text(7)
    result = SimpleNamespace(images=[made.resize((4, 4))], infotexts=[text(1)], info=text(1))
    assert [record.seed for record in records_of(result)] == [7]


def test_each_image_keeps_its_own_where_a_script_gives_one_text_for_all(p):
    made = [image("image", text(seed), seed=seed, subseed=0, prompt="apple") for seed in (500, 501, 502)]
    result = Processed(p, made[::-1], 500, text(500))
    assert [record.seed for record in records_of(result)] == [502, 501, 500]
    assert [record.infotext for record in records_of(result)] == [text(502), text(501), text(500)]
    assert result.infotexts == [text(500)] * 3, "what API clients know"


def test_a_text_that_a_hook_has_changed_counts(p):
    made = [image("image", text(seed), seed=seed) for seed in (500, 501)]
    result = Processed(p, made, 500, text(500), infotexts=[text(500), f"{text(501)}, Mine: 1"])
    assert [record.infotext for record in records_of(result)] == [text(500), f"{text(501)}, Mine: 1"]


def test_masks_and_images_of_hooks_do_not_shift_texts(p):
    made = [image(kind, text(seed), seed=seed) for kind, seed in (("image", 500), ("mask", 500), ("image", 501))]
    result = Processed(p, [*made, image()], 500, text(500), infotexts=[text(500), text(501)])
    assert [record.infotext for record in records_of(result)] == [text(500), text(500), text(501), text(500)]


@pytest.mark.parametrize(
    ("said", "seeds"),
    [
        ({"info": text(5)}, [5, 5, 5]),
        ({"seed": 5}, [5, 5, 5]),
        ({}, [None, None, None]),
        ({"seed": 5, "all_seeds": [5]}, [5, 5, 5]),
        ({"seed": 5, "all_seeds": [5, 6, 7]}, [5, 6, 7]),
        ({"seed": 5, "all_seeds": [5, 6, 7, 8]}, [5, 5, 5]),
        ({"seed": 5, "all_seeds": [5, 6], "index_of_first_image": 1}, [5, 5, 6]),
        ({"info": text(5), "all_seeds": [5, 6, 7]}, [5, 6, 7]),
        ({"info": text(5), "infotexts": [text(5), text(8), text(9)], "all_seeds": [5, 6, 7]}, [5, 8, 9]),
        ({"infotexts": [text(5), text(8)]}, [5, 8, 5]),
        ({"infotexts": None, "all_seeds": None, "index_of_first_image": None, "seed": "none"}, [None, None, None]),
    ],
)
def test_images_without_a_record_get_what_the_result_says(said, seeds):
    assert [record.seed for record in completed([ImageRecord()] * 3, said)] == seeds


def test_prompts_come_from_text_list_or_result():
    said = {"info": text(5, "pear"), "negative_prompt": "worm", "all_prompts": ["a", "b"]}
    assert [record.prompt for record in completed([ImageRecord()] * 2, said)] == ["a", "b"]
    assert [record.prompt for record in completed([ImageRecord()] * 3, said)] == ["pear"] * 3
    (only,) = completed([ImageRecord()], {"prompt": "apple", "negative_prompt": "worm"})
    assert (only.prompt, only.negative_prompt, only.infotext) == ("apple", "worm", "")


def test_extra_images_are_known_by_the_text_of_the_result(p):
    result = Processed(p, [image("image", text(500), seed=500)], 500, text(500))
    result.extra_images = [image(), "text"]
    assert [record.infotext for record in records_of(result)] == [text(500)] * 3


def test_the_page_is_told_of_every_image(p):
    made = [image(kind, text(seed), seed=seed) for kind, seed in (("grid", 500), ("image", 500), ("image", 501))]
    result = Processed(p, made, 500, text(500), index_of_first_image=1)
    told = json.loads(json.dumps(records.with_records(result)))
    assert {key: told[key] for key in json.loads(result.js())} == json.loads(result.js())
    assert records_in(told, 3) == records_of(result)
    assert [(record.kind, record.seed) for record in records_in(told, 3)] == [
        ("grid", 500),
        ("image", 500),
        ("image", 501),
    ]


def test_a_description_without_records_serves_too():
    described = {"infotexts": [text(5), text(6)], "records": None}
    assert [record.seed for record in records_in(described, 3)] == [5, 6, 5]
    described = {"records": [{"seed": 3, "unknown": 1}], "seed": 9}
    assert [record.seed for record in records_in(described, 2)] == [3, 9]
