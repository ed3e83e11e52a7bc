import pytest

from modules import patches


class Target:
    """Something hashable with an attribute, as modules and classes are."""

    value = 1


def test_patch_replaces_and_undo_restores():
    target = Target()
    assert patches.patch("me", target, "value", 2) == 1
    assert target.value == 2
    assert patches.original("me", target, "value") == 1
    patches.undo("me", target, "value")
    assert target.value == 1
    assert patches.original("me", target, "value") is None


def test_second_patch_of_the_same_key_is_an_error():
    target = Target()
    patches.patch("me", target, "value", 2)
    with pytest.raises(RuntimeError, match="already patched by me"):
        patches.patch("me", target, "value", 3)


def test_keys_do_not_see_each_other():
    target = Target()
    patches.patch("a", target, "value", 2)
    assert patches.patch("b", target, "value", 3) == 2
    patches.undo("b", target, "value")
    assert target.value == 2


def test_undo_without_patch_is_an_error():
    with pytest.raises(RuntimeError, match="not patched by nobody"):
        patches.undo("nobody", Target(), "value")


def test_unknown_attribute_is_an_error_and_leaves_no_record():
    target = Target()
    with pytest.raises(AttributeError):
        patches.patch("me", target, "missing", 1)
    assert patches.original("me", target, "missing") is None
