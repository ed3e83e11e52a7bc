"""Checks the arrows of the architecture: what the layer of a module may import. A module's docstring begins with its
layer.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "root": {"root", "face", "job", "engine", "state", "pure", "base"},
    "face": {"face", "job", "engine", "state", "pure", "base"},
    "job": {"job", "engine", "state", "pure", "base"},
    "engine": {"engine", "state", "pure", "base"},
    "state": {"state", "base"},
    "pure": {"pure", "base"},
    "base": {"base"},
}
WEB_PACKAGES = {"gradio", "gradio_client", "fastapi", "starlette", "uvicorn"}
FORBIDDEN_PACKAGES = {
    "base": WEB_PACKAGES | {"torch"},
    "pure": WEB_PACKAGES,
    "state": WEB_PACKAGES,
    "engine": WEB_PACKAGES,
    "job": WEB_PACKAGES,
}
MOST_IN_CIRCLES_OF_TYPES = 10
"""Modules that import each other where imports under TYPE_CHECKING count: stages of a job that name the type of p, a
sampler and its denoiser. May only fall.
"""
TORCH_IN_STATE = {"modules.devices", "modules.safe", "modules.memmon"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {
    module_name(path): path
    for path in sorted([ROOT / "launch.py", ROOT / "webui.py", *(ROOT / "modules").rglob("*.py")])
    if path.exists()
}


@cache
def syntax_tree(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text(encoding="utf8"))


@cache
def layer_of(name: str) -> str:
    """The word a module's docstring begins with."""
    return (ast.get_docstring(syntax_tree(name)) or "").partition(": ")[0]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def import_nodes(tree: ast.AST, with_types: bool = False) -> list[ast.Import | ast.ImportFrom]:
    """Every import that can be executed, those inside functions too; with_types adds those under TYPE_CHECKING."""
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif is_type_checking(node) and not with_types:
            found += [name for branch in node.orelse for name in import_nodes(branch)]
        else:
            found += import_nodes(node, with_types)
    return found


@cache
def imports_of(name: str, with_types: bool = False) -> frozenset[str]:
    """Names of our own modules and of packages that a module imports."""
    package = name if SOURCES[name].name == "__init__.py" else name.rpartition(".")[0]
    result = set()
    for node in import_nodes(syntax_tree(name), with_types):
        if isinstance(node, ast.Import):
            result |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])])
        members = {f"{base}.{alias.name}" for alias in node.names}
        inside = members & SOURCES.keys()
        result |= inside
        if members - inside or base == "":
            result.add(base)
    return frozenset(result - {"modules"})


def own_imports(name: str, with_types: bool = False) -> set[str]:
    return {found for found in imports_of(name, with_types) if found in SOURCES and found != name}


def packages(name: str) -> set[str]:
    return {found.partition(".")[0] for found in imports_of(name)}


def cycle_from(start: str, with_types: bool = False) -> list[str] | None:
    """The shortest way along imports from a module back to itself."""
    ways = [[start]]
    seen = set()
    while ways:
        way = ways.pop(0)
        for found in sorted(own_imports(way[-1], with_types)):
            if found == start:
                return [*way, found]
            if found not in seen:
                seen.add(found)
                ways.append([*way, found])
    return None


@pytest.mark.parametrize("name", SOURCES)
def test_module_says_its_layer_and_what_it_is(name):
    assert layer_of(name) in MAY_IMPORT, f"the docstring of {name} does not begin with one of {', '.join(MAY_IMPORT)}"


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_down(name):
    layer = layer_of(name)
    upward = {found: layer_of(found) for found in own_imports(name) if layer_of(found) not in MAY_IMPORT[layer]}
    assert not upward, f"{name} ({layer}) imports {upward}"


@pytest.mark.parametrize("name", SOURCES)
def test_module_is_in_no_import_cycle(name):
    assert cycle_from(name) is None


def test_imports_for_types_point_down_too():
    upward = {
        (name, found)
        for name in SOURCES
        for found in own_imports(name, with_types=True)
        if layer_of(found) not in MAY_IMPORT[layer_of(name)]
    }
    assert upward == set()


def test_circles_of_types_grow_no_more():
    in_circles = {name for name in SOURCES if cycle_from(name, with_types=True)}
    assert len(in_circles) <= MOST_IN_CIRCLES_OF_TYPES, sorted(in_circles)


@pytest.mark.parametrize("name", SOURCES)
def test_packages_stay_in_their_layers(name):
    assert not packages(name) & FORBIDDEN_PACKAGES.get(layer_of(name), set())


def test_torch_in_state_is_in_three_files():
    users = {name for name in SOURCES if layer_of(name) == "state" and "torch" in packages(name)}
    assert users <= TORCH_IN_STATE


@pytest.mark.parametrize("name", [name for name in SOURCES if layer_of(name) == "pure"])
def test_pure_code_reads_no_settings(name):
    names = {node.id for node in ast.walk(syntax_tree(name)) if isinstance(node, ast.Name)}
    assert not names & {"opts", "shared", "cmd_opts"}


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("modules.api")])
def test_api_and_page_do_not_import_each_other(name):
    assert not [found for found in own_imports(name) if found.startswith("modules.ui")]


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("modules.ui")])
def test_page_does_not_import_the_api(name):
    assert not [found for found in own_imports(name) if found.startswith("modules.api")]


@pytest.mark.parametrize("name", SOURCES)
def test_no_global_statement_and_no_star_import(name):
    for node in ast.walk(syntax_tree(name)):
        assert not isinstance(node, ast.Global), f"{name}, line {node.lineno}: global"
        assert not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*"), f"{name}, line {node.lineno}: *"


# Reads of settings by engine and job outside of `from_opts`; this number only ever falls.
MOST_SETTINGS_READS = 16


def settings_reads(tree: ast.Module) -> list[str]:
    """Settings that code reads anywhere but in a `from_opts`, which makes the frozen values that a stage takes."""
    doors = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "from_opts"]
    inside = {id(node) for door in doors for node in ast.walk(door)}
    return [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and id(node) not in inside
        and ast.unparse(node.value) in ("opts", "shared.opts")
    ]


def test_engine_and_job_read_settings_at_one_door():
    paths = [*SOURCES.values(), *sorted((ROOT / "extensions-builtin").rglob("*.py"))]
    trees = {path: ast.parse(path.read_text(encoding="utf8")) for path in paths}
    reads = {
        str(path.relative_to(ROOT)): found
        for path, tree in trees.items()
        if (ast.get_docstring(tree) or "").startswith(("engine:", "job:")) and (found := settings_reads(tree))
    }
    assert sum(map(len, reads.values())) <= MOST_SETTINGS_READS, reads


def test_a_read_inside_from_opts_is_none_outside():
    code = "def from_opts(cls, opts):\n    return opts.inside\nx = shared.opts.outside\nopts.written = options.free"
    assert settings_reads(ast.parse(code)) == ["outside"]
