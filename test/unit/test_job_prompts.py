"""One prompt of each kind per image, styles applied."""

import pytest

from modules import processing, shared
from modules.errors import InvalidInput
from modules.job import prompts
from modules.styles import PromptStyle


@pytest.mark.parametrize(
    ("prompt", "negative", "expected"),
    [
        ("a", "n", (["a", "a"], ["n", "n"])),
        (["a", "b", "c"], "n", (["a", "b", "c"], ["n", "n", "n"])),
        ("a", ["m", "n", "o"], (["a", "a", "a"], ["m", "n", "o"])),
        (["a", "b"], ["m", "n"], (["a", "b"], ["m", "n"])),
    ],
)
def test_one_per_image(prompt, negative, expected):
    assert prompts.one_per_image(prompt, negative, 2, "prompt") == expected


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(InvalidInput, match=r"prompts \(2\) and negative prompts \(1\)") as caught:
        prompts.one_per_image(["a", "b"], ["n"], 1, "hr_prompt")
    assert caught.value.field == "hr_prompt"


def test_a_list_is_copied():
    given = ["a"]
    made, _ = prompts.one_per_image(given, "n", 1, "prompt")
    made.append("b")
    assert given == ["a"]


@pytest.fixture
def p(program, monkeypatch):
    monkeypatch.setitem(shared.prompt_styles.styles, "loud", PromptStyle("loud", "very {prompt}", "quiet"))
    return processing.StableDiffusionProcessingTxt2Img(
        prompt="apple", negative_prompt="worm", styles=["loud"], batch_size=2, n_iter=2, enable_hr=True
    )


def test_styles_are_applied_to_every_image(p):
    prompts.fill(p)
    assert p.all_prompts == ["very apple"] * 4 and p.all_negative_prompts == ["worm, quiet"] * 4
    assert (p.main_prompt, p.main_negative_prompt) == ("very apple", "worm, quiet")
    assert p.prompt == "apple"


def test_an_empty_hires_prompt_is_the_first_passes(p):
    p.hr_negative_prompt = "rot"
    p.setup_prompts()
    assert p.all_hr_prompts == ["very apple"] * 4 and p.all_hr_negative_prompts == ["rot, quiet"] * 4


def test_without_a_hires_pass_there_are_no_prompts_for_it(p):
    p.enable_hr = False
    p.setup_prompts()
    assert p.all_hr_prompts is None
