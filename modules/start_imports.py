"""base: what importing the large packages leaves out at the start: modules nobody uses, type stubs, garbage collection.

Whoever imports one of these packages himself gets it as ever, extensions and requests that come meanwhile too. (Not so
what is imported meanwhile from within one of which functions are named below, which nobody was found to do.)
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from modules import cache

UNUSED_BY_TORCH = {"torch.distributions": ()}  # 3 MB
UNUSED_BY_GRADIO = {
    "gradio.cli": ("deploy",),  # together 9 MB and 0.1 s: command line programs, pages made of models on other hosts
    "gradio.external": ("load", "load_chat", "load_openapi"),
    "hf_gradio.cli": ("_condense_info", "generate_cli_snippet"),
    "httpx._main": ("main",),
    "pandas": (),  # 36 MB: tables that the page does not have
}
UNUSED_BY_NETWORKS = {
    "scipy.integrate": (),  # together 60 MB and 0.2 s: schedules of diffusers and losses of transformers
    "scipy.optimize": ("linear_sum_assignment",),
    "scipy.stats": (),
}
"""What a package imports and the program does not use -> the functions that are imported by name from there."""


class ImportedWhenUsed(ModuleType):
    """Stands for a module, which is imported when something of it is asked for, or one of some functions is called."""

    def __init__(self, spec: importlib.machinery.ModuleSpec, functions: Iterable[str]):
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__file__ = spec.origin  # `inspect` asks all modules for it
        for function in functions:
            setattr(self, function, functools.partial(self._call, function))
        if functions and spec.submodule_search_locations is not None:
            self.__path__ = list(spec.submodule_search_locations)  # an import by name asks for it

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        return self.__getattr__(function)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "__path__" and self.__spec__.submodule_search_locations is None:  # imports by name ask for it
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            sys.modules.pop(self.__name__, None)
        return getattr(importlib.import_module(self.__name__), name)


def spec_of(module: str) -> importlib.machinery.ModuleSpec | None:
    """Returns how to load a module, without loading the package that it is in; None if there is none."""
    package = module.rpartition(".")[0]
    parent = spec_of(package) if package else None
    if package and (parent is None or parent.submodule_search_locations is None):
        return None
    return importlib.machinery.PathFinder.find_spec(module, parent and parent.submodule_search_locations)


@contextmanager
def imported_when_used(modules: Mapping[str, Iterable[str]]) -> Iterator[None]:
    """Has what is imported meanwhile import some modules only when it uses them. All others import them as ever.

    modules: name -> functions that are imported by name from it meanwhile (`from module import function`) and called
    later at the earliest.
    """
    stand_ins = {}
    for name, functions in modules.items():
        if name not in sys.modules and (spec := spec_of(name)) is not None:
            stand_ins[name] = sys.modules[name] = ImportedWhenUsed(spec, functions)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


class ChangingFinder(importlib.abc.MetaPathFinder):
    """Finds some modules as ever, and has each changed as soon as it is loaded."""

    def __init__(self, changes: Mapping[str, Callable[[ModuleType], None]]):
        self.changes = changes

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Returns how to load one of those modules."""
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in self.changes else None
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = ChangingLoader(name, spec.loader.path, self.changes[name])
        return spec


class ChangingLoader(importlib.machinery.SourceFileLoader):
    """Loads a module that `ChangingFinder` has found."""

    def __init__(self, name: str, path: str, change: Callable[[ModuleType], None]):
        super().__init__(name, path)
        self.change = change

    def exec_module(self, module: ModuleType) -> None:
        """Runs it, and changes what it has defined."""
        super().exec_module(module)
        self.change(module)


@contextmanager
def changed(changes: Mapping[str, Callable[[ModuleType], None]]) -> Iterator[None]:
    """Has modules changed that are loaded meanwhile. changes: name -> what is done with the module."""
    finder = ChangingFinder(changes)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def write_no_stubs(component_meta: ModuleType) -> None:
    """Has Gradio not parse the source of each of its components, for type stubs that are there."""
    component_meta.create_or_modify_pyi = lambda *args, **kwargs: None


def remember_structure(import_utils: ModuleType) -> None:
    """Has transformers keep what its 1,700 files define, for which it would read all of them twice at each start."""
    package = sys.modules["transformers"]
    if "dev" in package.__version__:  # files that somebody is working on
        return
    original = import_utils.define_import_structure

    def work_out(module_path: Any, prefix: str | None) -> list[Any]:
        found = original(module_path, prefix)
        return [
            [sorted(backends), {module: sorted(names) for module, names in modules.items()}]
            for backends, modules in found.items()
        ]

    @functools.cache
    def define_import_structure(module_path: Any, prefix: str | None = None) -> dict[frozenset[str], Any]:
        found = cache.cached_data_for_file(
            "files of transformers",
            f"{package.__version__} {module_path} {prefix}",
            package.__file__,
            lambda: work_out(module_path, prefix),
        )
        return {
            frozenset(backends): {module: set(names) for module, names in modules.items()}
            for backends, modules in found
        }

    import_utils.define_import_structure = define_import_structure


CHANGES_OF_GRADIO = {"gradio.component_meta": write_no_stubs}
CHANGES_OF_NETWORKS = {"transformers.utils.import_utils": remember_structure}


class Collections:
    """Has Python look for no garbage while somebody imports: there is hardly any, among ever more objects."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._importing = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pauses collections; they go on when all have left, in whichever threads they are."""
        with self._lock:
            self._importing += 1
            gc.disable()
        try:
            yield
        finally:
            with self._lock:
                self._importing -= 1
                if not self._importing:
                    gc.enable()


collections = Collections()
