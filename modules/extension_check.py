"""pure: what an extension needs, changes and installs, told from its code, which is read and never run."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modules import launch_pins, script_loading
from modules.code_names import Library, absolute, dotted, expanded, imported, parse, set_from_outside
from modules.extension_load import Failure, Loading, Place

HERE, TRANSLATED, REPLACED, MISSING = "here", "translated", "replaced", "missing"

NETWORKS = "of this package there is what extensions use: see modules/packages and docs/model_names.md"
IN_PLACE_OF = {
    "backend": "made for another program; here models are diffusers' and transformers', see modules/sd_models_types.py",
    "basicsr": "upscalers are read by the package spandrel, faces are found by facexlib",
    "ldm": NETWORKS,
    "ldm.models.diffusion": "the samplers are in modules.sd_samplers_timesteps",
    "ldm_patched": "made for another program",
    "modules_forge": "made for another program; modules.model_patches changes the model for a job",
    "sgm": NETWORKS,
}
"""Module that is not here -> what there is in its place; the longest name that fits counts."""

INSTALLER_CALLS = ("run_pip", "pip_install", "install")


@dataclass(frozen=True)
class Use:
    """A name that a file uses. state: here, translated (by this program, from an older library), replaced (not here,
    and `instead` says by what), missing. instead: for what is not here, what to do about it.
    """

    name: str
    line: int
    state: str
    instead: str = ""


@dataclass(frozen=True)
class FileReport:
    """What one file uses. hooks, patches: names with their lines; patches are what it replaces in other modules."""

    file: str
    uses: list[Use]
    hooks: list[tuple[str, int]]
    patches: list[tuple[str, int]]


@dataclass(frozen=True)
class ExtensionReport:
    """What is known of an extension before it runs.

    loads: whether its scripts will be loaded. failures: why not, one sentence each. fetches: what it takes from the
    network while it loads, and fails without. installs: what it hands to pip.
    conflicts: what of that contradicts the packages of the program. shared_patches: name -> the other installed
    extensions that replace it too. changes: against the version that is installed, + what is new, - what is gone.
    """

    name: str
    loads: bool
    failures: list[str]
    fetches: list[str]
    files: list[FileReport]
    packages: dict[str, str]
    installs: list[str]
    conflicts: list[str]
    shared_patches: dict[str, list[str]] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)


def program_library(root: Path) -> Library:
    """Returns the modules of the program, with what it puts onto the modules of others, and all installed packages."""
    builtin = root / "extensions-builtin"
    folders = sorted(path for path in builtin.iterdir() if path.is_dir()) if builtin.is_dir() else []
    library = Library([root, root / "modules" / "packages", *folders])
    library.extra = _put_on_others(root / "modules", builtin)
    return library


@functools.cache
def _put_on_others(*sources: Path) -> dict[str, set[str]]:
    """Returns module -> names that the files of the program put onto it: all of them have to be read for that."""
    found: dict[str, set[str]] = {}
    for path in sorted(path for source in sources for path in source.rglob("*.py")):
        tree = parse(path)
        for full, _ in set_from_outside(tree) if tree else ():
            module, _, name = full.rpartition(".")
            found.setdefault(module, set()).add(name)
    return found


def check(
    folder: Path,
    program: Library,
    pins: Mapping[str, str],
    others: Sequence[Path] = (),
    *,
    is_beside_program: bool = True,
) -> ExtensionReport:
    """Reads an extension. program: from `program_library`. pins: package -> version that nobody may change. others: the
    folders of the extensions that are installed beside it.
    """
    place = Place(folder, program, is_beside_program=is_beside_program)
    files = [report for path in place.sources if (report := _file_report(path, place)) is not None]
    failed = _failures(Loading(place))
    failures = [f"{f.file}, line {f.line}: {f.error}: {f.name}{_because(f.name)}" for f in failed]
    alone = [failure for failure in _failures(Loading(place, is_offline=True)) if failure not in failed]
    commands = list(_pip_commands(folder))
    return ExtensionReport(
        name=folder.name,
        loads=not failures,
        failures=failures,
        fetches=[f"{f.file}, line {f.line}: {f.name}" for f in alone],
        files=files,
        packages=_packages(files, place),
        installs=[text for command in commands for text in launch_pins.requirements_in(command) if text != "install"],
        conflicts=[text for command in commands for text in launch_pins.conflicts(command, pins)],
        shared_patches=_shared_patches(files, program, [other for other in others if other.name != folder.name]),
    )


def _because(name: str) -> str:
    instead = _instead(name)
    return f" ({instead})" if instead else ""


def _instead(name: str) -> str:
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        if (text := IN_PLACE_OF.get(".".join(parts[:depth]))) is not None:
            return text
    return ""


def _file_report(path: Path, place: Place) -> FileReport | None:
    tree = parse(path)
    if tree is None:
        return None
    relative = path.relative_to(place.folder)
    package = ".".join(relative.parts[:-1])
    uses = dict.fromkeys(_uses(tree, package, place))
    return FileReport(
        file=relative.as_posix(),
        uses=sorted(uses, key=lambda use: (use.line, use.name)),
        hooks=sorted(set(_hooks(tree, package, place)), key=lambda hook: (hook[1], hook[0])),
        patches=sorted(set(_patches(tree, package, place)), key=lambda patch: (patch[1], patch[0])),
    )


def _uses(tree: ast.Module, package: str, place: Place) -> Iterator[Use]:
    """Yields what a file imports and what it looks up in imported modules, files of the extension left out."""
    aliases = imported(tree, package)
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (module := absolute(node, package)):
            names = [module if alias.name == "*" else f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            names = [expanded(dotted(node), aliases)]
        for name in names:
            if name and not place.is_own(name):
                yield from _use(name, node.lineno, place)  # type: ignore[attr-defined]
        if isinstance(node, ast.Attribute):
            yield from _idioms(node, aliases, place)


def _use(name: str, line: int, place: Place) -> Iterator[Use]:
    module, _, attribute = name.rpartition(".")
    failure = place.lacks(name)
    if failure is not None:
        instead = _instead(name)
        state = REPLACED if instead else MISSING
        missing = failure.name if failure.error == "AttributeError" else name
        if not instead and failure.error == "ModuleNotFoundError":
            instead = script_loading.how_to_install(ModuleNotFoundError(name=failure.name))
        yield Use(missing, line, state, instead)
    elif not name.startswith("modules.") and attribute in place.program.extra.get(module, ()):
        yield Use(name, line, TRANSLATED)
    else:
        yield Use(name, line, HERE)


def _idioms(node: ast.Attribute, aliases: Mapping[str, str], place: Place) -> Iterator[Use]:
    """Yields methods that today's Gradio and pydantic do not have, and that the program gives their classes."""
    inner: ast.AST = node.value
    while isinstance(inner, ast.Attribute | ast.Call):
        inner = inner.value if isinstance(inner, ast.Attribute) else inner.func
    origin = aliases.get(inner.id, "") if isinstance(inner, ast.Name) else ""
    for owner, names in place.program.extra.items():
        library, is_class = owner.partition(".")[0], owner.rpartition(".")[2][:1].isupper()
        is_theirs = origin.partition(".")[0] == library or (library == "pydantic" and node.attr.startswith("__"))
        if is_class and library in ("gradio", "pydantic") and node.attr in names and is_theirs:
            yield Use(f"{owner}.{node.attr}", node.lineno, TRANSLATED)


def _hooks(tree: ast.Module, package: str, place: Place) -> Iterator[tuple[str, int]]:
    """Yields the callbacks a file registers and the hooks its scripts have."""
    aliases = imported(tree, package)
    methods = _script_methods(place.program)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = expanded(dotted(node.func), aliases)
            if name.startswith("modules.script_callbacks.on_"):
                yield name.rpartition(".")[2], node.lineno
        elif isinstance(node, ast.ClassDef):
            bases = [expanded(dotted(base), aliases) for base in node.bases]
            if any(base.startswith("modules.scripts") for base in bases):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and part.name in methods:
                        yield f"{node.name}.{part.name}", part.lineno


def _script_methods(program: Library) -> set[str]:
    """Returns the names of the methods of the program's base classes of scripts."""
    found = set()
    for module in ("modules.script_base", "modules.scripts_postprocessing"):
        path = program.find(module)
        tree = parse(path) if isinstance(path, Path) else None
        for node in tree.body if tree else ():
            if isinstance(node, ast.ClassDef):
                found |= {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    return {name for name in found if not name.startswith("_")}


def _patches(tree: ast.Module, package: str, place: Place) -> Iterator[tuple[str, int]]:
    """Yields what a file replaces: names of modules and of classes that were there before."""
    for full, line in set_from_outside(tree, package):
        if place.is_own(full):
            continue
        parts = full.split(".")
        depth = next((n for n in range(len(parts) - 1, 0, -1) if place.find(".".join(parts[:n])) is not None), 0)
        owners = parts[depth:-1]
        if depth and all(owner[:1].isupper() for owner in owners) and place.lacks(full) is None:
            yield full, line


def _packages(files: Sequence[FileReport], place: Place) -> dict[str, str]:
    """Returns the packages that the files import: name -> here, or how to get it."""
    program = {"modules", "scripts", "extensions", "webui", "launch", *script_loading.OWN_PACKAGES}
    names = {use.name.partition(".")[0] for report in files for use in report.uses} - program
    missing = {name: script_loading.how_to_install(ModuleNotFoundError(name=name)) for name in names}
    return {name: HERE if place.find(name) is not None else missing[name] for name in sorted(names)}


def _pip_commands(folder: Path) -> Iterator[str]:
    """Yields what would be asked of pip, as far as it stands in requirements.txt and in the calls of install.py."""
    requirements = folder / "requirements.txt"
    if requirements.is_file():
        yield f'install -r "{requirements.as_posix()}"'
    tree = parse(folder / "install.py")
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in INSTALLER_CALLS and node.args:
            command = node.args[0]
            if isinstance(command, ast.Constant) and isinstance(command.value, str):
                text = command.value if command.value.startswith("install ") else f"install {command.value}"
                yield text


def _shared_patches(files: Sequence[FileReport], program: Library, others: Sequence[Path]) -> dict[str, list[str]]:
    mine = {name for report in files for name, _ in report.patches}
    found: dict[str, list[str]] = {}
    for other in others if mine else ():
        place = Place(other, program)
        for path in place.sources:
            tree = parse(path)
            package = ".".join(path.relative_to(other).parts[:-1])
            for name, _ in _patches(tree, package, place) if tree else ():
                if name in mine and other.name not in found.setdefault(name, []):
                    found[name].append(other.name)
    return {name: names for name, names in sorted(found.items()) if names}


def changes(before: ExtensionReport, after: ExtensionReport) -> list[str]:
    """Returns what is new in a report (+) and what is gone (-): failures, packages, installs, hooks, patches, names."""
    old, new = _facts(before), _facts(after)
    return [f"+ {fact}" for fact in sorted(new - old)] + [f"- {fact}" for fact in sorted(old - new)]


def _facts(report: ExtensionReport) -> set[str]:
    facts = {f"fails: {text}" for text in report.failures}
    facts |= {f"imports {name}" for name in report.packages}
    facts |= {f"installs {text}" for text in report.installs} | {f"conflict: {text}" for text in report.conflicts}
    for file in report.files:
        facts |= {f"hook {name}" for name, _ in file.hooks} | {f"replaces {name}" for name, _ in file.patches}
        facts |= {f"{use.state}: {use.name}" for use in file.uses if use.state != HERE}
    return facts


def _failures(loading: Loading) -> list[Failure]:
    """Returns what goes wrong where the scripts of an extension are loaded, each once."""
    scripts = sorted((loading.place.folder / "scripts").glob("*.py"))
    return list(dict.fromkeys(failure for path in scripts for failure in loading.file(path)))


def as_text(report: ExtensionReport) -> str:
    """Returns a report as lines to be read: of names that are here, only how many."""
    lines = [f"{report.name}: {'will load' if report.loads else 'will not load'}"]
    lines += [f"  {failure}" for failure in report.failures]
    lines += _section("Fails without a network:", report.fetches)
    lines += _section("Packages that are missing:", [text for text in report.packages.values() if text != HERE])
    lines += _section("Installs:", report.installs)
    lines += [f"  conflict: {text}" for text in report.conflicts]
    lines += _section("Against what is installed:", report.changes)
    for file in report.files:
        lines += _lines_of(file, report.shared_patches)
    return "\n".join(lines)


def _section(title: str, texts: Sequence[str]) -> list[str]:
    """Returns texts under a title; nothing where there are none."""
    return [title, *(f"  {text}" for text in texts)] if texts else []


def _lines_of(file: FileReport, shared_patches: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns what a file uses, hooks and replaces, as lines to be read."""
    lines = [f"{file.file}: {sum(use.state == HERE for use in file.uses)} names that are here"]
    for use in file.uses:
        if use.state != HERE:
            lines.append(f"  line {use.line}: {use.state}: {use.name}" + (f": {use.instead}" if use.instead else ""))
    lines += [f"  line {line}: hook {name}" for name, line in file.hooks]
    for name, line in file.patches:
        too = shared_patches.get(name)
        lines.append(f"  line {line}: replaces {name}" + (f", as does {', '.join(too)}" if too else ""))
    return lines
