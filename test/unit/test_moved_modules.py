"""Modules, and names imported from packages, under the names they had."""

import importlib
import sys

import pytest

from modules import moved_modules, torchvision_ops


@pytest.fixture(autouse=True)
def finder():
    torchvision_ops.declare_missing()
    moved_modules.install()
    moved_modules.install()
    assert sum(isinstance(finder, moved_modules.MovedModules) for finder in sys.meta_path) == 1


def test_a_module_that_has_moved_is_found_by_its_old_name():
    old = "torchvision.transforms.functional_tensor"
    module, moved = importlib.import_module(old), importlib.import_module(moved_modules.MOVED[old])
    assert module.__name__ == old and moved.__name__ == moved_modules.MOVED[old]
    assert module.rgb_to_grayscale is moved.rgb_to_grayscale
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("torchvision.transforms.was_never_there")


@pytest.mark.parametrize("old", [old for old, new in moved_modules.MOVED.items() if ":" in new])
def test_a_name_that_a_package_has_dropped_is_imported_from_it(old):
    package, _, name = old.rpartition(".")
    place, _, new_name = moved_modules.MOVED[old].partition(":")
    found = {}
    exec(f"from {package} import {name}", found)
    assert found[name] is getattr(importlib.import_module(place), new_name)
    with pytest.raises(ImportError):
        exec(f"from {package} import was_never_there")
