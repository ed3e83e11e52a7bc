"""How much of a model is on a card of some size, by the sizes of real models."""

import pytest

from modules.memory_plan import GIB, Choice, Offload, Sizes, plan, work_bytes

NONE, PARTS, BLOCKS = Offload

OF_OTHERS = 0.8 * GIB
"""What a desktop and the libraries take of a card before a model is loaded."""


def sizes(denoiser, text, vae, pixels, itemsize=2, stored=2):
    """Of a U-Net; millions of parameters."""
    return Sizes(
        denoiser=int(denoiser * 1e6 * stored),
        text=int(text * 1e6 * stored),
        text_at_once=int(text * 1e6 * stored),
        vae=int(vae * 1e6 * itemsize),
        work=work_bytes(pixels, 8, 320, itemsize),
    )


SD15 = sizes(859.5, 123.1, 83.7, pixels=512)
SDXL = sizes(2567.5, 123.1 + 694.7, 83.7, pixels=1024)
SDXL_FP8 = sizes(2567.5, 123.1 + 694.7, 83.7, pixels=1024, stored=1)


@pytest.mark.parametrize(
    ("model", "by_card"),
    [
        (SD15, {2: BLOCKS, 3: PARTS, 4: NONE, 6: NONE, 8: NONE, 12: NONE, 24: NONE}),
        (SDXL, {4: BLOCKS, 6: BLOCKS, 8: PARTS, 10: NONE, 12: NONE, 16: NONE, 24: NONE}),
        (SDXL_FP8, {4: BLOCKS, 6: NONE, 8: NONE, 12: NONE, 24: NONE}),
    ],
    ids=["sd15", "sdxl", "sdxl in fp8"],
)
def test_cards(model, by_card):
    assert {card: plan(int(card * GIB - OF_OTHERS), model) for card in by_card} == by_card


@pytest.mark.parametrize("card", [4, 8, 12, 24])
def test_what_is_planned_for_sdxl_fits(card):
    free = int(card * GIB - OF_OTHERS)
    assert SDXL.needed(plan(free, SDXL)) <= free


def test_less_waits_where_it_fits():
    small = Sizes(denoiser=50, text=30, text_at_once=30, vae=10, work=10)
    needed = [small.needed(offload) for offload in Offload]
    assert needed == [100, 60, 40]
    assert [plan(free, small) for free in (100, 99, 60, 59, 40, 0)] == [NONE, PARTS, PARTS, BLOCKS, BLOCKS, BLOCKS]


def test_text_encoders_that_take_turns_need_the_room_of_the_larger():
    large = Sizes(denoiser=50, text=90, text_at_once=70, vae=10, work=10)
    assert [large.needed(offload) for offload in Offload] == [160, 80, 80]


def test_larger_images_and_wider_types_need_more():
    assert work_bytes(512, 8, 320, 2) < work_bytes(1024, 8, 320, 2) < work_bytes(1024, 8, 320, 4)


def test_a_choice_says_what_and_why():
    assert str(Choice()) == "all of it stays on the device (default)"
    text = str(Choice(PARTS, "automatic", SDXL, 7 * GIB))
    assert "take turns" in text and "automatic" in text and "7.0 GiB free" in text
