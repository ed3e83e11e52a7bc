"""base: loads extension files as modules, and lets extensions add command line flags."""

from __future__ import annotations

import importlib.util
import os
from argparse import ArgumentParser
from collections.abc import Iterable
from types import ModuleType

from modules import errors

# Every file loaded so far, by its path.
loaded_scripts: dict[str, ModuleType] = {}


def load_module(path: str) -> ModuleType:
    """Execute the Python file at path as a module of its own and return it; what it raises is passed on."""
    spec = importlib.util.spec_from_file_location(os.path.basename(path), path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loaded_scripts[path] = module
    return module


def preload_extensions(
    extensions_dir: str, parser: ArgumentParser, extension_list: Iterable[str] | None = None
) -> None:
    """Call preload(parser) of the preload.py of each extension in extensions_dir; a failing one is only reported.

    extension_list: names of the extensions to ask; all of the folder, sorted, if not given.
    """
    if not os.path.isdir(extensions_dir):
        return

    for dirname in sorted(os.listdir(extensions_dir)) if extension_list is None else extension_list:
        preload_script = os.path.join(extensions_dir, dirname, "preload.py")
        if not os.path.isfile(preload_script):
            continue
        try:
            module = load_module(preload_script)
            if hasattr(module, "preload"):
                module.preload(parser)
        except Exception:
            errors.report(f"Error running preload() for {preload_script}", exc_info=True)
