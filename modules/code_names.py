"""pure: which names Python modules have, read from their source with `ast`: nothing is imported and nothing runs."""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modules.util import FileStamp

WAYS_TO_FILL = (b"globals()", b"locals()", b"sys.modules[", b"def __getattr__(name")


@dataclass
class Names:
    """What is known of one module.

    names: those it has, with the names of its submodules. is_open: there may be more, which only running it would tell.
    is_lazy: it has a `__getattr__` that answers for what stands in its texts.
    """

    names: set[str] = field(default_factory=set)
    is_open: bool = False
    is_lazy: bool = False
    texts: set[str] = field(default_factory=set)

    def has(self, name: str) -> bool:
        """Tells whether the module has a name, as far as can be said; an open module may have any."""
        if name in self.names or self.is_open:
            return True
        return self.is_lazy and any(text and name.endswith(text) for text in self.texts)


def parse(path: Path) -> ast.Module | None:
    """Returns the syntax tree of a file; None if it is no Python."""
    try:
        return _parsed(path, FileStamp.of(path))
    except OSError:
        return None


@functools.lru_cache(maxsize=512)
def _parsed(path: Path, stamp: FileStamp) -> ast.Module | None:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, OSError):
        return None


def dotted(node: ast.AST) -> str:
    """Returns `a.b.c` for such an expression; "" for any other."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Returns the module that `from ... import` names, in a file of a package."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def imported(tree: ast.AST, package: str = "") -> dict[str, str]:
    """Returns alias -> dotted name, of everything that a file imports anywhere."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{absolute(node, package)}.{alias.name}"
    return found


def expanded(name: str, aliases: dict[str, str]) -> str:
    """Returns a dotted name with its first part replaced by what it was imported as; "" if it was not imported."""
    first, _, rest = name.partition(".")
    return (f"{aliases[first]}.{rest}" if rest else aliases[first]) if first in aliases else ""


def set_from_outside(tree: ast.AST, package: str = "") -> Iterator[tuple[str, int]]:
    """Yields (dotted name, line) of what a file puts onto other modules and their classes: by assignment, with setattr,
    or with `patches.patch(key, owner, name, ...)`.
    """
    aliases = imported(tree, package)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            names = _assigned(node)
        elif isinstance(node, ast.Call):
            names = _set_by_call(node)
        else:
            continue
        for name in names:
            if full := expanded(name, aliases):
                yield full, node.lineno


def _assigned(node: ast.Assign) -> list[str]:
    """Returns the dotted names that an assignment sets."""
    targets: list[ast.expr] = []
    for target in node.targets:
        targets += target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    return [dotted(target) for target in targets if isinstance(target, ast.Attribute)]


def _set_by_call(node: ast.Call) -> list[str]:
    """Returns the dotted name that setattr or `patches.patch` sets; nothing for other calls."""
    is_setattr = dotted(node.func) == "setattr"
    if not is_setattr and not dotted(node.func).endswith("patches.patch"):
        return []
    match node.args[0 if is_setattr else 1 :][:2]:
        case [owner, ast.Constant(value=str(name))]:
            return [f"{dotted(owner)}.{name}"]
    return []


class Library:
    """Modules found in folders as Python would find them, then among the installed packages.

    roots: folders that stand on the path, the first wins. extra: names that others put onto modules, by module.
    """

    def __init__(self, roots: Sequence[Path], *, with_installed: bool = True):
        self.roots = list(roots)
        self.with_installed = with_installed
        self.extra: dict[str, set[str]] = {}
        self._names: dict[str, Names | None] = {}

    @functools.cache  # noqa: B019  # one library lives as long as one report
    def top(self, name: str) -> Path | str | None:
        """Returns where a module without a dot lies; the word "inside" for one that is no file of Python."""
        for root in self.roots:
            if found := at(root / name):
                return found
        if not self.with_installed:
            return None
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        if spec.submodule_search_locations is not None:
            folders = list(spec.submodule_search_locations)
            return Path(folders[0]) if folders else "inside"
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else "inside"

    @functools.cache  # noqa: B019
    def find(self, module: str) -> Path | str | None:
        """Returns the file or folder of a module, "inside" where it is compiled, None if there is none."""
        first, *rest = module.split(".")
        place = self.top(first)
        for part in rest:
            if place is None or isinstance(place, str):
                return place
            if place.is_file():
                return None
            found = at(place / part)
            if found is None and any(place.glob(f"{part}.*.so")) or any(place.glob(f"{part}.*.pyd")):
                return "inside"
            place = found
        return place

    def names(self, module: str) -> Names | None:
        """Returns what is known of a module, None if there is none."""
        if module not in self._names:
            place = self.find(module)
            self._names[module] = Names(is_open=True)  # while it is read: modules import each other
            self._names[module] = None if place is None else self._read(module, place)
        return self._names[module]

    def _read(self, module: str, place: Path | str) -> Names:
        if isinstance(place, str) or module.partition(".")[0] in sys.stdlib_module_names:
            return Names(is_open=True)
        found = Names(set(self.extra.get(module, ())) | {"__file__", "__name__", "__doc__", "__path__", "__dict__"})
        if place.is_dir():
            found.names |= {entry.name.partition(".")[0] for entry in place.iterdir()}
            found.is_open |= any(entry.suffix in (".so", ".pyd") for entry in place.iterdir())
        source = place / "__init__.py" if place.is_dir() else place
        if not source.is_file():
            # Where it is described for editors a compiled package makes it.
            return Names(is_open=True) if (place / "__init__.pyi").is_file() else found
        tree = parse(source)
        if tree is None:
            return Names(is_open=True)
        if not any(at(root / module.partition(".")[0]) for root in self.roots):
            # Packages fill their modules in many ways, which only running them would tell.
            found.is_open |= any(way in source.read_bytes() for way in WAYS_TO_FILL)
        package = module if place.is_dir() else module.rpartition(".")[0]
        _Collector(self, found, package, tree).visit(tree)
        return found


def at(path: Path) -> Path | None:
    """Returns the package or file that `import` finds under a path without its suffix."""
    if path.is_dir() and ((path / "__init__.py").is_file() or not path.with_name(path.name + ".py").is_file()):
        return path
    file = path.with_name(path.name + ".py")
    return file if file.is_file() else None


class _Collector(ast.NodeVisitor):
    """Gathers the names a module binds when it runs."""

    def __init__(self, library: Library, found: Names, package: str, tree: ast.Module):
        self.library, self.found, self.package = library, found, package
        self.aliases = imported(tree, package)
        self.classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self.depth = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.found.names.add(node.name) if not self.depth else None
        if node.name == "__getattr__" and not self.depth:
            self.found.is_lazy = True
            self.found.texts = {
                part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
            }
        self._inside(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._inside(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.found.names.add(node.name) if not self.depth else None
        self._inside(node)

    def _inside(self, node: ast.AST) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    def visit_Global(self, node: ast.Global) -> None:
        self.found.names.update(node.names)

    def visit_Name(self, node: ast.Name) -> None:
        if not self.depth and isinstance(node.ctx, ast.Store):
            self.found.names.add(node.id)

    def visit_Call(self, node: ast.Call) -> None:
        self.found.is_open |= not self.depth and dotted(node.func) == "globals"
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        if not self.depth:
            self.found.names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if self.depth:
            return
        for alias in node.names:
            if alias.name == "*":
                # One that is open may have any name already, and some packages have thousands of files.
                if not self.found.is_open:
                    self._take(self.library.names(absolute(node, self.package)))
            else:
                self.found.names.add(alias.asname or alias.name)

    def _take(self, other: Names | None) -> None:
        if other is None or other.is_open:
            self.found.is_open = True
        else:
            self.found.names |= other.names

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            text = ast.unparse(target)
            if text == "sys.modules[__name__]":
                value = expanded(dotted(node.value), self.aliases)
                self._take(self.library.names(value) if value else None)
            elif text == "sys.modules[__name__].__class__" and dotted(node.value) in self.classes:
                body = self.classes[dotted(node.value)].body
                self.found.names |= {part.name for part in body if isinstance(part, ast.FunctionDef)}
        self.generic_visit(node)
