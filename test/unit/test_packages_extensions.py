"""Installed extensions as packages."""

import importlib
import os
import shutil
import sys

from modules import paths


def test_an_installed_extension_can_be_imported_by_its_folder(monkeypatch):
    package = importlib.import_module("extensions")
    folder = os.path.join(paths.extensions_dir, "importable_extension", "parts")
    os.makedirs(folder)
    with open(os.path.join(folder, "one.py"), "w", encoding="utf8") as file:
        file.write("from extensions.importable_extension.parts import two\nvalue = two.value\n")
    with open(os.path.join(folder, "two.py"), "w", encoding="utf8") as file:
        file.write("value = 2\n")
    try:
        importlib.invalidate_caches()
        assert importlib.import_module("extensions.importable_extension.parts.one").value == 2
        assert paths.extensions_dir in package.__path__
    finally:
        for name in [name for name in sys.modules if name.startswith("extensions.importable_extension")]:
            monkeypatch.delitem(sys.modules, name)
        shutil.rmtree(os.path.dirname(folder))
