import textwrap

import pytest

from modules.sd_hijack_utils import CondFunc


def test_function_is_replaced_while_the_condition_holds():
    double_negative = CondFunc(abs, lambda original, x: 2 * original(x), lambda original, x: x < 0)
    assert double_negative(-3) == 6
    assert double_negative(3) == 3


def test_condition_is_optional():
    assert CondFunc(abs, lambda original, x: original(x) + 1)(-3) == 4
    assert CondFunc(abs, lambda original, x: original(x) + 1, None)(-3) == 4


def test_method_is_replaced_in_place_by_its_name(monkeypatch):
    original = textwrap.TextWrapper.fill
    monkeypatch.setattr(textwrap.TextWrapper, "fill", original)
    CondFunc(
        "textwrap.TextWrapper.fill",
        lambda fill, self, text: fill(self, text).upper(),
        lambda _, self, text: "a" in text,
    )
    assert textwrap.TextWrapper().fill("abc") == "ABC"
    assert textwrap.TextWrapper().fill("bcd") == "bcd"
    assert textwrap.TextWrapper.fill.__wrapped__ is original


@pytest.mark.parametrize("name", ["no_such_package.x", "textwrap.NoSuchClass.fill"])
def test_name_that_leads_nowhere_is_an_error(name):
    with pytest.raises((ModuleNotFoundError, AttributeError)):
        CondFunc(name, lambda original: None)
