"""base: modules of packages that have moved since extensions were written, and names that were imported from them,
under their old names too. What is reached for by attribute is in `dropped_names`.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

MOVED = {
    "torchvision.transforms.functional_tensor": "torchvision.transforms._functional_tensor",
    "huggingface_hub.HfFolder": "modules.dropped_names:HfFolder",
    "transformers.AdamW": "torch.optim:AdamW",
    "transformers.AutoModelForVision2Seq": "transformers:AutoModelForImageTextToText",
    "transformers.CLIPFeatureExtractor": "transformers:CLIPImageProcessor",
    "scipy.integrate.simps": "scipy.integrate:simpson",
    "scipy.integrate.trapz": "scipy.integrate:trapezoid",
    "scipy.integrate.cumtrapz": "scipy.integrate:cumulative_trapezoid",
}
"""Old name -> new name, of a module, or `module:name` of something in it that was imported from its package."""


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules by their old names, where nothing else has."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Returns how to load a module that has moved."""
        return importlib.machinery.ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Fills a module with what has moved; a name in a package becomes what stands for it now.

        `from package import name` looks for a module of that name when the package has none, and the package then has
        what stands in sys.modules.
        """
        place, _, name = MOVED[module.__name__].partition(":")
        moved = importlib.import_module(place)
        if name:
            sys.modules[module.__name__] = getattr(moved, name)
            return
        vars(module).update({name: value for name, value in vars(moved).items() if not name.startswith("__")})


def install() -> None:
    """Has imports ask here last."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
