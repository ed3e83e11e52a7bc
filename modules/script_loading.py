"""base: loads extension files as modules, and lets extensions add command line flags."""

from __future__ import annotations

import importlib.util
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

from modules import errors, safe_mode
from modules.paths_internal import script_path

PACKAGES = {
    "clip": "git+https://github.com/openai/CLIP.git",
    "cv2": "opencv-python-headless",
    "git": "GitPython",
    "open_clip": "open-clip-torch",
    "PIL": "pillow",
    "segment_anything": "segment-anything",
    "send2trash": "Send2Trash",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "sqlalchemy": "SQLAlchemy",
    "yaml": "pyyaml",
}
"""Names under which modules are imported, and pip knows the package, where they differ."""

OWN_PACKAGES = (
    "modules",
    "scripts",
    "extensions",
    "ldm",
    "sgm",
    "k_diffusion",
    "backend",
    "modules_forge",
    "ldm_patched",
    "repositories",
)
"""What no package of pip has: names of the program, of extensions, and of other programs."""

CLONED = dict.fromkeys(("models", "utils"), "https://github.com/salesforce/BLIP")
"""What v1.10.1 found in repositories that it cloned and this program does without -> where they are."""

failed_preloads: list[tuple[str, Exception]] = []
"""Every preload.py that failed, with what it raised."""

loaded_scripts: dict[str, ModuleType] = {}
"""Every file loaded so far, by its path."""


def load_module(path: str) -> ModuleType:
    """Executes the Python file at path as a module of its own and returns it; what it raises is passed on, and a file
    that would end the program is an ImportError.

    The module is called like the file, "xyz_grid.py", by which extensions find each other's, and stands in sys.modules
    under that name, because inspect, dataclasses and pickle look there for the module of a class.
    """
    name = os.path.basename(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    namesake = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as e:
        sys.modules.pop(name, None)
        if namesake is not None:
            sys.modules[name] = namesake
        if isinstance(e, SystemExit):
            raise ImportError(f"{path} would end the program: sys.exit({e.code!r})") from e
        raise
    loaded_scripts[path] = module
    return module


def how_to_install(error: Exception) -> str:
    """Returns the sentence that says how to get the package an import has not found; empty for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    root = error.name.partition(".")[0]
    if root in CLONED:
        return f"{root} is a module of {CLONED[root]}: put a clone of that on PYTHONPATH"
    if root in OWN_PACKAGES:
        return f"there is no {error.name} in this program"
    return f'the package {root} is missing: "{sys.executable}" -m pip install {PACKAGES.get(root, root)}'


@contextmanager
def importing_from(basedir: str) -> Iterator[None]:
    """Lets files of an extension import what lies in its folder, and `scripts.x` as what lies in its scripts/.

    Its folder comes first inside the block, and last afterwards, for imports inside functions.
    """
    entries = ((sys.path, basedir), (scripts_package().__path__, os.path.join(basedir, "scripts")))
    for search_path, entry in entries:
        search_path[:] = [entry, *(other for other in search_path if other != entry)]
    try:
        yield
    finally:
        for search_path, entry in entries:
            search_path[:] = [*(other for other in search_path if other != entry), entry]


def scripts_package() -> ModuleType:
    """Returns the package `scripts`: the files in scripts/ of the program and of every extension, in one namespace.

    Made here rather than found, so that an extension whose scripts/ has an __init__.py does not hide all others.
    """
    package = sys.modules.get("scripts")
    if package is None or not isinstance(getattr(package, "__path__", None), list):
        spec = ModuleSpec("scripts", None, is_package=True)
        spec.submodule_search_locations = [os.path.join(script_path, "scripts")]
        package = sys.modules["scripts"] = importlib.util.module_from_spec(spec)
    return package


def preload_extensions(
    extensions_dir: str, parser: ArgumentParser, extension_list: Iterable[str] | None = None
) -> None:
    """Calls preload(parser) of the preload.py of each extension in extensions_dir; a failing one is only reported.

    extension_list: names of the extensions to ask; all of the folder, sorted, if not given.
    """
    if not os.path.isdir(extensions_dir):
        return

    for dirname in sorted(os.listdir(extensions_dir)) if extension_list is None else extension_list:
        preload_script = os.path.join(extensions_dir, dirname, "preload.py")
        if not os.path.isfile(preload_script):
            continue
        safe_mode.marker.note(preload_script)
        try:
            module = load_module(preload_script)
            if hasattr(module, "preload"):
                module.preload(parser)
        except Exception as e:
            errors.report(f"Error running preload() for {preload_script}", exc_info=True)
            failed_preloads.append((preload_script, e))
        safe_mode.marker.note("")
