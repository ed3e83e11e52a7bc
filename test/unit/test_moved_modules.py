"""Modules under the names they had."""

import importlib
import sys

import pytest

from modules import moved_modules, torchvision_ops


@pytest.mark.parametrize("old", moved_modules.MOVED)
def test_a_module_that_has_moved_is_found_by_its_old_name(old):
    torchvision_ops.declare_missing()
    moved_modules.install()
    moved_modules.install()
    assert sum(isinstance(finder, moved_modules.MovedModules) for finder in sys.meta_path) == 1
    module, moved = importlib.import_module(old), importlib.import_module(moved_modules.MOVED[old])
    assert module.__name__ == old and moved.__name__ == moved_modules.MOVED[old]
    assert module.rgb_to_grayscale is moved.rgb_to_grayscale
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("torchvision.transforms.was_never_there")
