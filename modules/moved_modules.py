"""base: modules of packages that have moved since extensions were written, under their old names too."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

MOVED = {"torchvision.transforms.functional_tensor": "torchvision.transforms._functional_tensor"}
"""Old name -> new name. basicsr, which several extensions bring along, imports the first."""


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules by their old names, where nothing else has."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Returns how to load a module that has moved."""
        return importlib.machinery.ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Fills a module with what has moved."""
        moved = importlib.import_module(MOVED[module.__name__])
        vars(module).update({name: value for name, value in vars(moved).items() if not name.startswith("__")})


def install() -> None:
    """Has imports ask here last."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
