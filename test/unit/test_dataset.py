import pytest

from modules.textual_inversion.dataset import re_numbers_at_start


@pytest.mark.parametrize(
    ("stem", "caption"), [("00012-3-a red apple", "a red apple"), ("7 a1", "a1"), ("apple 7", "apple 7"), ("12", "")]
)
def test_numbers_are_no_part_of_a_caption(stem, caption):
    assert re_numbers_at_start.sub("", stem) == caption
