"""pure: follows what would run while an extension is loaded, by reading it, and says where an import would fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.code_names import Library, absolute, dotted, expanded, imported, parse

CAUGHT_BY = {
    "ModuleNotFoundError": ("ModuleNotFoundError", "ImportError", "Exception", "BaseException"),
    "ImportError": ("ImportError", "Exception", "BaseException"),
    "AttributeError": ("AttributeError", "Exception", "BaseException"),
    "OSError": ("OSError", "IOError", "URLError", "ConnectionError", "RequestException", "Exception", "BaseException"),
}
"""What reading can foresee -> the classes whose `except` catches it."""

FETCHING = {
    "basicsr.utils.download_util.load_file_from_url",
    "git.Repo.clone_from",
    "huggingface_hub.hf_hub_download",
    "huggingface_hub.snapshot_download",
    "modules.modelloader.load_file_from_url",
    "requests.get",
    "torch.hub.load",
    "torch.hub.load_state_dict_from_url",
    "urllib.request.urlopen",
    "urllib.request.urlretrieve",
}
"""Functions that need the network."""

Code = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Failure:
    """What would be raised while a file is loaded. error: the exception's class. name: what is not there."""

    error: str
    name: str
    file: str
    line: int


class Place:
    """Where names are looked up: first among the files of an extension, then in the program and its packages.

    folder: the extension. program: the program's modules and everything installed. is_beside_program: it lies in the
    program's own extensions/, where `extensions.NAME` is its folder.
    """

    def __init__(self, folder: Path, program: Library, *, is_beside_program: bool = True):
        self.folder, self.program, self.is_beside_program = folder, program, is_beside_program
        self.sources = sorted(path for path in folder.rglob("*.py") if ".git" not in path.relative_to(folder).parts)
        self.own = Library([folder], with_installed=False)
        # Which folders it puts on the path, and when, only running it would tell; they come last.
        adds_folders = any(b"sys.path" in path.read_bytes() for path in self.sources)
        inner = {parent for path in self.sources for parent in path.parents if folder in parent.parents}
        self.inner = Library(sorted(inner) if adds_folders else [], with_installed=False)

    def library(self, module: str) -> tuple[Library, str]:
        """Returns where a module is looked up, and its name there."""
        parts = module.split(".")
        if parts[0] == "extensions" and self.is_beside_program:
            if parts[1:2] == [self.folder.name]:
                return self.own, ".".join(parts[2:])
        elif parts[0] != "modules" and self.own.find(module) is not None:
            return self.own, module
        elif self.program.top(parts[0]) is None and self.inner.find(module) is not None:
            return self.inner, module
        return self.program, module

    def is_own(self, name: str) -> bool:
        """Tells whether a dotted name is one of the extension's files or of what is in them."""
        first = name.partition(".")[0]
        return self.library(name)[0] is not self.program or (
            first != "modules" and self.find(first) is not None and self.library(first)[0] is not self.program
        )

    def find(self, module: str) -> Path | str | None:
        """Returns where a module lies, None if there is none."""
        library, name = self.library(module)
        return library.find(name) if name else self.folder

    def lacks(self, full: str) -> Failure | None:
        """Returns what fails when a dotted name is looked up, without its file and line; None if nothing does."""
        parts = full.split(".")
        depth = next((n for n in range(len(parts), 0, -1) if self.find(".".join(parts[:n])) is not None), 0)
        if not depth:
            return Failure("ModuleNotFoundError", parts[0], "", 0)
        library, module = self.library(".".join(parts[:depth]))
        names = library.names(module) if module else None
        if depth == len(parts) or names is None or names.has(parts[depth]):
            return None
        return Failure("AttributeError", ".".join(parts[: depth + 1]), "", 0)


class Loading:
    """The loading of the files of one extension; every file is followed once, as Python runs it once.

    is_offline: it is loaded without a network.
    """

    def __init__(self, place: Place, *, is_offline: bool = False):
        self.place = place
        self.is_offline = is_offline
        self.done: dict[Path, list[Failure]] = {}

    def file(self, path: Path, package: str = "") -> list[Failure]:
        """Returns what would be raised by loading a file; [] if nothing is foreseen."""
        if path not in self.done:
            self.done[path] = []  # while it runs: files import each other
            tree = parse(path)
            name = path.relative_to(self.place.folder).as_posix()
            if tree is None:
                self.done[path] = [Failure("SyntaxError", name, name, 1)]
            else:
                self.done[path] = _File(self, tree, name, package).block(tree.body)
        return self.done[path]

    def module(self, module: str) -> list[Failure]:
        """Returns what would be raised by importing a module, its packages included."""
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            found = self.place.find(name)
            if found is None:
                return [Failure("ModuleNotFoundError", name, "", 0)]
            if isinstance(found, Path) and self.place.folder in (found, *found.parents):
                is_package = found.is_dir()
                source = found / "__init__.py" if is_package else found
                if source.is_file() and (failed := self.file(source, name if is_package else name.rpartition(".")[0])):
                    return failed
        return []


class _File:
    """One file while it is followed. A block that may not run is followed too, but what fails in it is left out."""

    def __init__(self, loading: Loading, tree: ast.Module, file: str, package: str):
        self.loading, self.name, self.package = loading, file, package
        self.place = loading.place
        self.aliases = imported(tree, package)
        self.functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        self.called: set[str] = set()
        self.has_lazy_hints = any(
            isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body
        )
        bound = {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
        }
        bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        self.shadowed = bound & self.aliases.keys()

    def block(self, statements: Sequence[ast.stmt]) -> list[Failure]:
        """Returns the first failure of a block, as a list of at most one."""
        for statement in statements:
            if failed := self.statement(statement):
                return failed
            if isinstance(statement, ast.Return | ast.Raise):
                break
        return []

    def statement(self, node: ast.stmt) -> list[Failure]:
        """Returns the first failure of a statement."""
        if isinstance(node, ast.Import):
            return self.here(self.first(self.loading.module(alias.name) for alias in node.names), node)
        if isinstance(node, ast.ImportFrom):
            return self.here(self.import_from(node), node)
        if isinstance(node, ast.Try):
            return self.attempt(node)
        if isinstance(node, ast.If):
            return self.choice(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return self.definition(node)
        if isinstance(node, ast.With):
            failed = self.expressions([item.context_expr for item in node.items]) or self.block(node.body)
            return [] if any("suppress" in ast.unparse(item.context_expr) for item in node.items) else failed
        if isinstance(node, ast.For):
            return self.expressions([node.iter]) or self.block(node.body)
        if isinstance(node, ast.While):
            return self.block(node.body)
        return self.expressions([node])

    @staticmethod
    def first(results: Iterator[list[Failure]]) -> list[Failure]:
        return next((failed for failed in results if failed), [])

    def here(self, failed: list[Failure], node: ast.stmt) -> list[Failure]:
        """Fills in where, unless the failure is in another file."""
        return [Failure(f.error, f.name, f.file or self.name, f.line or node.lineno) for f in failed]

    def import_from(self, node: ast.ImportFrom) -> list[Failure]:
        """Returns what `from module import names` would raise."""
        module = absolute(node, self.package)
        if module == "__future__":
            return []
        if not module:
            return [Failure("ImportError", "." * node.level + (node.module or ""), "", 0)] if not self.package else []
        if failed := self.loading.module(module):
            return failed
        for alias in node.names:
            if alias.name == "*":
                continue
            full = f"{module}.{alias.name}"
            library, name = self.place.library(module)
            names = library.names(name) if name else None
            if self.place.find(full) is not None:
                if failed := self.loading.module(full):
                    return failed
            elif names is not None and not names.has(alias.name):
                return [Failure("ImportError", full, "", 0)]
        return []

    def attempt(self, node: ast.Try) -> list[Failure]:
        """Returns what leaves a `try`: nothing where a handler takes it and does not fail itself."""
        failed = self.block(node.body)
        if not failed:
            return self.block([*node.orelse, *node.finalbody])
        for handler in node.handlers:
            caught = [handler.type] if not isinstance(handler.type, ast.Tuple) else handler.type.elts
            names = CAUGHT_BY.get(failed[0].error, ("SyntaxError", "Exception", "BaseException"))
            if any(kind is None or dotted(kind).rpartition(".")[2] in names for kind in caught):
                raised = failed if any(isinstance(part, ast.Raise) for part in handler.body) else []
                return self.block(handler.body) or raised or self.block(node.finalbody)
        return failed

    def choice(self, node: ast.If) -> list[Failure]:
        """Returns what both branches raise: which of them runs is not known."""
        test = ast.unparse(node.test)
        if "__main__" in test or test.endswith("TYPE_CHECKING"):
            return self.block(node.orelse)
        one, other = self.block(node.body), self.block(node.orelse)
        return one if one and other else []

    def definition(self, node: Code) -> list[Failure]:
        """Returns what defining a function or class raises: decorators, defaults, hints, bases and a class's body."""
        parts: list[ast.AST] = [*node.decorator_list]
        if isinstance(node, ast.ClassDef):
            return self.expressions([*parts, *node.bases, *(word.value for word in node.keywords)]) or self.block(
                node.body
            )
        arguments = node.args
        parts += [default for default in (*arguments.defaults, *arguments.kw_defaults) if default is not None]
        if not self.has_lazy_hints:
            given = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            parts += [argument.annotation for argument in given if argument.annotation is not None]
            parts += [node.returns] if node.returns else []
        return self.expressions(parts)

    def expressions(self, nodes: Sequence[ast.AST]) -> list[Failure]:
        """Returns the first failure among names that are looked up, and in functions of the file that are called."""
        for given in nodes:
            node: ast.AST = given
            if isinstance(node, ast.Lambda):
                continue
            if isinstance(node, ast.IfExp | ast.BoolOp):  # which part runs is not known
                node = node.test if isinstance(node, ast.IfExp) else node.values[0]
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and (name := dotted(node)):
                if failed := self.lookup(name, node.lineno):
                    return failed
                continue
            if isinstance(node, ast.Call) and (failed := self.call(node)):
                return failed
            if failed := self.expressions(list(ast.iter_child_nodes(node))):
                return failed
        return []

    def lookup(self, name: str, line: int) -> list[Failure]:
        """Returns what looking up `a.b.c` raises, where `a` was imported."""
        if name.partition(".")[0] in self.shadowed:
            return []
        full = expanded(name, self.aliases)
        failed = self.place.lacks(full) if full else None
        is_foreseen = failed is not None and failed.error == "AttributeError"
        return [Failure(failed.error, failed.name, self.name, line)] if failed and is_foreseen else []

    def call(self, node: ast.Call) -> list[Failure]:
        """Returns what a function of the file raises, when it is called the first time, or one without its network."""
        name = dotted(node.func)
        if self.loading.is_offline and (full := expanded(name, self.aliases)) in FETCHING:
            return [Failure("OSError", full, self.name, node.lineno)]
        if name not in self.functions or name in self.called:
            return []
        self.called.add(name)
        return self.block(self.functions[name].body)
