"""How much a job may ask for."""

import math

import pytest

from modules import bounds
from modules.errors import InvalidInput

LIMITS = bounds.Bounds(
    api_max_size=1024,
    api_max_steps=100,
    api_max_batch_size=4,
    api_max_images=20,
    api_max_tokens=30,
    api_max_prompt_parts=3,
)
MANY = 10**18


def refused(check, *args, **kwargs):
    """Calls a check that has to refuse, and returns the field it names."""
    with pytest.raises(InvalidInput) as caught:
        check(*args, **kwargs)
    assert caught.value.field in str(caught.value) or caught.value.field == "script_args"
    return caught.value.field


def test_the_settings_are_the_bounds(settings):
    settings(api_max_size=64, api_max_images=3)
    limits = bounds.current()
    assert (limits.api_max_size, limits.api_max_images) == (64, 3)


@pytest.mark.parametrize("value", [1025, MANY, -1, math.nan, math.inf, "7", None, [1]])
def test_a_number_has_to_be_one_and_in_its_range(value):
    assert refused(LIMITS.check, "api_max_size", value, "pixels", "pixels") == "pixels"


def test_the_ends_of_a_range_are_inside():
    LIMITS.check("api_max_size", 0, "pixels", "f")
    LIMITS.check("api_max_size", 1024, "pixels", "f")
    assert refused(LIMITS.check, "api_max_size", 0, "pixels", "f", lowest=1) == "f"


def test_both_sides_count():
    LIMITS.check_size(1024, 1024, "w", "h")
    assert refused(LIMITS.check_size, 1025, 8, "w", "h") == "w"
    assert refused(LIMITS.check_size, 8, 1025, "w", "h") == "h"
    assert refused(LIMITS.check_size, 8, 1025, "w") == "w"


@pytest.mark.parametrize("factor", [2.1, 0, -1, math.inf, math.nan, "2", None])
def test_factors(factor):
    LIMITS.check_scaled((512, 100), 2, "factor")
    assert refused(LIMITS.check_scaled, (512, 100), factor, "factor") == "factor"


def test_what_an_image_grows_to_before_it_is_cut_counts():
    LIMITS.check_covering((512, 512), (1024, 1024), ("w", "h"))
    assert refused(LIMITS.check_covering, (512, 512), (1025, 8), ("w", "h")) == "w"
    assert refused(LIMITS.check_covering, (512, 512), (8, 0), ("w", "h")) == "h"
    assert refused(LIMITS.check_covering, (1, 1000), (1024, 1024), ("w", "h")) == "w"  # 1024 x 1024000 in between


def test_images_pixels_and_margins():
    LIMITS.check_images(20, "n")
    assert refused(LIMITS.check_images, 21, "n") == "n"
    LIMITS.check_pixels(16 * 1024**2, "n")
    assert refused(LIMITS.check_pixels, 16 * 1024**2 + 1, "n") == "n"
    assert refused(LIMITS.check_pixels, math.nan, "n") == "n"
    LIMITS.check_margin(500)
    for margin in (501, -1, math.nan, "8", None):
        assert refused(LIMITS.check_margin, margin) == "script_args"


def test_texts_are_counted_only_where_they_may_be_too_long():
    asked = []

    def count(text):
        asked.append(text)
        return len(text.split())

    LIMITS.check_texts(["a" * 30, "word " * 30, "word " * 30], "prompt", count)
    assert asked == ["word " * 30]
    assert refused(LIMITS.check_texts, ["word " * 31], "prompt", count) == "prompt"
    asked.clear()
    assert refused(LIMITS.check_texts, ["w" * 3001], "prompt", count) == "prompt"
    assert asked == []


def test_parts_joined_by_and():
    LIMITS.check_length("a AND b AND c ANDROID", "prompt")
    assert refused(LIMITS.check_length, "a AND b AND c AND d", "prompt") == "prompt"
    assert refused(LIMITS.check_length, "AND AND AND", "negative_prompt") == "negative_prompt"


def test_brackets():
    LIMITS.check_length("(a) [b]" * 15 + "))", "prompt")
    assert refused(LIMITS.check_length, "([" * 15 + "(", "prompt") == "prompt"


def test_edits_that_make_many_long_texts():
    LIMITS.check_edits("[a|b] " * 10, 100, "prompt")
    LIMITS.check_edits("long " * 500, 1000, "prompt")
    LIMITS.check_edits("[a:b:0.5] " + "long " * 300, 1000, "prompt")
    assert refused(LIMITS.check_edits, "[a|b] " + "long " * 100, 100, "prompt") == "prompt"
    assert refused(LIMITS.check_edits, "[a:b:5] " * 100, 1000, "prompt") == "prompt"
