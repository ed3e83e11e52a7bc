"""Checks that what the program imports is what its requirements name."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from modules.launch_utils import read_requirements

ROOT = Path(__file__).resolve().parent.parent
FILES = [
    path
    for pattern in ("*.py", "modules/**/*.py", "scripts/*.py", "extensions-builtin/**/*.py")
    for path in sorted(ROOT.glob(pattern))
]
OWN = {"modules", "launch", "webui"}

# Packages that one feature needs and the user installs; what imports them names them in its error.
OPTIONAL = {
    "facexlib",
    "ngrok",
    "onnxruntime",
    "rich",
    "spandrel_extra_arches",
    "xformers",
    "intel_extension_for_pytorch",
    "torch_npu",
}

# Import name -> package, where they differ.
PACKAGES = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml", "starlette": "fastapi"}


def imported_packages(path: Path) -> set[str]:
    """Top names of the modules a file imports from elsewhere, as packages."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return {PACKAGES.get(name, name) for name in names - OWN - sys.stdlib_module_names - {"__future__"}}


def normalized(name: str) -> str:
    return name.lower().replace("_", "-")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_required(path):
    required = {normalized(name) for name in read_requirements(str(ROOT / "requirements_versions.txt"))}
    beside = {file.stem for folder in (path.parent, path.parent.parent) for file in folder.glob("*.py")}
    missing = {name for name in imported_packages(path) - OPTIONAL - beside if normalized(name) not in required}
    assert not missing


def test_requirements_are_imported():
    imported = {normalized(name) for path in FILES for name in imported_packages(path)}
    idle = {
        name for name in read_requirements(str(ROOT / "requirements_versions.txt")) if normalized(name) not in imported
    }
    # Others import these: diffusers to build models, spandrel, transformers to read captions, FastAPI to read forms.
    assert idle <= {"accelerate", "torchvision", "ftfy", "python-multipart"}


def test_optional_packages_are_no_requirements():
    assert not OPTIONAL & read_requirements(str(ROOT / "requirements_versions.txt")).keys()
