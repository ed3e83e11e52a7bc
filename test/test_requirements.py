"""Checks that what the program imports is what its requirements name, and that the lock file holds all of it."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from modules.launch_utils import (
    REQUIREMENTS_FILE,
    TEST_REQUIREMENTS_FILE,
    TORCH_PACKAGES,
    TORCH_REQUIREMENTS,
    applies_here,
    read_requirements,
)

ROOT = Path(__file__).resolve().parent.parent
FILES = [
    path
    for pattern in ("*.py", "modules/**/*.py", "scripts/*.py", "extensions-builtin/**/*.py")
    for path in sorted(ROOT.glob(pattern))
]
OWN = {"modules", "launch", "webui", *(entry.stem for entry in (ROOT / "modules" / "packages").iterdir())}
"""The program, and the stand-ins it brings along."""

# Packages that one feature needs and the user installs; what imports them names them in its error.
OPTIONAL = {
    "facexlib",
    "ngrok",
    "onnxruntime",
    "ray",
    "rich",
    "spandrel_extra_arches",
    "xformers",
    "intel_extension_for_pytorch",
    "torch_npu",
}

# What v1.10.1 brought, so that extensions that use it do not install it.
FOR_EXTENSIONS = {"einops", "gitpython", "omegaconf", "open-clip-torch", "piexif", "scikit-image"}

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
    needed = {"accelerate", "torchvision", "ftfy", "python-multipart"}
    assert idle <= needed | FOR_EXTENSIONS


def test_optional_packages_are_no_requirements():
    assert not OPTIONAL & read_requirements(str(ROOT / "requirements_versions.txt")).keys()


def required_by(name: str) -> set[str]:
    """What an installed package requires on this machine, without its extras."""
    lines = importlib.metadata.requires(name) or []
    return {
        normalized(re.match(r"[-_.A-Za-z0-9]+", line)[0])
        for line in lines
        if "extra ==" not in line and applies_here(line)
    }


def brought_along(names: set[str], except_by: tuple[str, ...] = ()) -> set[str]:
    """The packages and everything they bring along; what the packages in except_by require does not count."""
    found: set[str] = set()
    while names:
        found |= names
        names = {other for name in names if name not in except_by for other in required_by(name)} - found
    return found


DIRECT = {normalized(name) for name in read_requirements(str(ROOT / "requirements_versions.txt"))}
LOCKED = {normalized(name) for name in read_requirements(str(ROOT / REQUIREMENTS_FILE))}


def test_the_lock_file_has_everything_that_requirements_bring_along():
    assert brought_along(DIRECT, except_by=("torch",)) <= LOCKED


def test_what_only_torch_requires_is_known_and_none_of_it_is_of_one_build():
    only_for_torch = LOCKED - brought_along(DIRECT, except_by=("torch",))
    assert only_for_torch <= set(TORCH_REQUIREMENTS)
    assert not [name for name in LOCKED if name.startswith(("nvidia", "cuda", "triton"))]
    assert {*TORCH_PACKAGES, *TORCH_REQUIREMENTS} <= LOCKED


@pytest.mark.parametrize(
    ("people", "tool"),
    [("requirements_versions.txt", REQUIREMENTS_FILE), ("requirements_test.txt", TEST_REQUIREMENTS_FILE)],
)
def test_the_lock_file_is_made_from_the_pins_that_people_edit(people, tool):
    """`python tools/lock_requirements.py` writes it anew."""
    pins = read_requirements(str(ROOT / people))
    locked = read_requirements(str(ROOT / tool))
    assert {name: locked.get(name) for name in pins} == pins


def test_the_lock_files_agree_and_name_no_registry():
    locked = [read_requirements(str(ROOT / name)) for name in (REQUIREMENTS_FILE, TEST_REQUIREMENTS_FILE)]
    assert {name: locked[1][name] for name in locked[0].keys() & locked[1].keys()}.items() <= locked[0].items()
    for name in (REQUIREMENTS_FILE, TEST_REQUIREMENTS_FILE):
        assert not re.search(r"https?:|^-", (ROOT / name).read_text(encoding="utf8"), re.MULTILINE)
