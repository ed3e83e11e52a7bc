"""state: the folders of extensions: which there are, which are enabled, in which order their files are loaded.

Git is asked only when someone wants to know where an extension came from or whether it is outdated.
"""

from __future__ import annotations

import configparser
import logging
import os
import re
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from modules import cache, errors, git_repo, shared
from modules.paths_internal import extensions_builtin_dir, extensions_dir, script_path
from modules.util import topological_sort

logger = logging.getLogger(__name__)

extensions: list[Extension] = []
"""All extensions found, disabled ones too: built-in ones first, each kind sorted by folder name."""

extension_paths: dict[str, Extension] = {}
"""Real path of its folder -> extension."""

loaded_extensions: dict[str, Extension] = {}
"""Canonical name -> extension."""


class ScriptFile(NamedTuple):
    """A file of the program or of an extension: folder of its owner, name, path."""

    basedir: str
    filename: str
    path: str


@dataclass
class CallbackOrderInfo:
    """What an extension says about one of its callbacks: names of callbacks it is to be called before and after."""

    name: str
    before: list[str]
    after: list[str]


class ExtensionMetadata:
    """metadata.ini of an extension. The canonical name is that of its folder in lower case."""

    filename: ClassVar[str] = "metadata.ini"

    def __init__(self, path: str, canonical_name: str):
        self.config = configparser.ConfigParser(interpolation=None)
        self.canonical_name = canonical_name.lower().strip()
        self.requires: list[str] = []
        filename = os.path.join(path, self.filename)
        try:
            self.config.read(filename, encoding="utf8")
        except (configparser.Error, ValueError, OSError):
            errors.report(f"Could not read {filename}", exc_info=True)

    def get_script_requirements(self, field: str, section: str, extra_section: str | None = None) -> list[str]:
        """Returns names listed under a field ("Requires", "Before", "After") of one or two sections, in lower case.

        Of alternatives, "a|b", the first installed one is taken.
        """
        text = self.config.get(section, field, fallback="")
        if extra_section:
            text += " " + self.config.get(extra_section, field, fallback="")
        return [
            next((name for name in requirement.split("|") if name in loaded_extensions), requirement)
            for requirement in self.parse_list(text.lower())
        ]

    def parse_list(self, text: str) -> list[str]:
        """Elements of a list separated by commas, white space or both."""
        return [part for part in re.split(r"[\s,]+", text) if part]

    def list_callback_order_instructions(self) -> Iterator[CallbackOrderInfo]:
        """Yields what the sections [callbacks/<callback name>] say; an extension may only order its own callbacks."""
        for section in self.config.sections():
            kind, _, name = section.partition("/")
            if kind != "callbacks":
                continue
            if not name.startswith(self.canonical_name):
                errors.report(
                    f"{self.filename} of extension {self.canonical_name}: section [{section}] names a callback of "
                    f"another extension; it must begin with callbacks/{self.canonical_name}/"
                )
                continue
            before, after = (self.parse_list(self.config.get(section, key, fallback="")) for key in ("Before", "After"))
            yield CallbackOrderInfo(name, before, after)


class Extension:
    """An extension folder. What git knows about it (remote, branch, commit) is empty until read_info_from_repo."""

    lock: ClassVar[threading.Lock] = threading.Lock()
    cached_fields: ClassVar[list[str]] = ["remote", "commit_date", "branch", "commit_hash", "version"]

    def __init__(
        self,
        name: str,
        path: str,
        enabled: bool = True,
        is_builtin: bool = False,
        metadata: ExtensionMetadata | None = None,
    ):
        self.name = name
        self.path = path
        self.enabled = enabled
        self.is_builtin = is_builtin
        self.metadata = metadata or ExtensionMetadata(path, name.lower())
        self.canonical_name = self.metadata.canonical_name
        self.status = ""
        self.can_update = False
        self.commit_hash = ""
        self.commit_date: int | None = None
        self.version = ""
        self.branch: str | None = None
        self.remote: str | None = None
        self.have_info_from_repo = False

    def to_dict(self) -> dict[str, Any]:
        """Returns what is cached of the git information."""
        return {name: getattr(self, name) for name in self.cached_fields}

    def from_dict(self, d: dict[str, Any]) -> None:
        """Takes over cached git information."""
        for name in self.cached_fields:
            setattr(self, name, d[name])

    def read_info_from_repo(self) -> None:
        """Fills in what git knows, from the cache while the repository is unchanged.

        Does nothing for built-in extensions.
        """
        if self.is_builtin or self.have_info_from_repo:
            return

        def read() -> dict[str, Any]:
            """Returns what the cache is to hold, read from the repository."""
            with self.lock:
                self.do_read_info_from_repo()
            return self.to_dict()

        try:
            info = cache.cached_data_for_file("extensions-git", self.name, os.path.join(self.path, ".git"), read)
        except FileNotFoundError:  # not a git checkout
            info = None
        if info:
            self.from_dict(info)
        self.have_info_from_repo = True
        self.status = self.status or "unknown"

    def do_read_info_from_repo(self) -> None:
        """Asks git for remote, branch and commit; a folder that is no git checkout leaves them empty."""
        if not git_repo.is_checkout(self.path):
            return
        try:
            info = git_repo.describe(self.path)
        except (OSError, ValueError, subprocess.CalledProcessError):
            errors.report(f"Could not read the git repository of extension {self.name} in {self.path}", exc_info=True)
            return
        self.remote, self.branch = info.remote, info.branch
        self.commit_hash, self.commit_date, self.version = info.commit_hash, info.commit_date, info.commit_hash[:8]

    def list_files(self, subdir: str, extension: str) -> list[ScriptFile]:
        """Returns files of a folder of the extension whose names end in extension (".py"), sorted."""
        return list_files(self.path, subdir, extension)

    def check_updates(self) -> None:
        """Asks the remote for the newest commit of the branch; the answer stands in can_update and status.

        Raises CalledProcessError when the remote cannot be reached.
        """
        newest = git_repo.newest_commit(self.path)
        if newest is None:
            self.can_update, self.status = False, "unknown (remote error)"
        elif newest == git_repo.run_git(self.path, "rev-parse", "HEAD"):
            self.can_update, self.status = False, "latest"
        else:
            self.can_update = True
            self.status = "behind HEAD" if git_repo.has_commit(self.path, newest) else "new commits"

    def fetch_and_reset_hard(self, commit: str | None = None) -> None:
        """Fetches everything and switches to a commit, the remote's newest by default; local changes are lost."""
        git_repo.fetch_and_reset_hard(self.path, commit)
        self.have_info_from_repo = False


def list_extensions() -> None:
    """Looks for extensions and fills the lists of this module; says which requirements of enabled ones are not met.

    The folder of the user's extensions is made if there is none.
    """
    os.makedirs(extensions_dir, exist_ok=True)
    extensions.clear()
    extension_paths.clear()
    loaded_extensions.clear()
    _say_what_is_disabled()

    for dirname in (extensions_builtin_dir, extensions_dir):
        for name in sorted(os.listdir(dirname)) if os.path.isdir(dirname) else ():
            path = os.path.join(dirname, name)
            if os.path.isdir(path):
                _add_extension(name, path, is_builtin=dirname == extensions_builtin_dir)

    for extension in extensions:
        extension.metadata.requires = extension.metadata.get_script_requirements("Requires", "Extension")
        if extension.enabled:
            _check_requirements(extension)


def _say_what_is_disabled() -> None:
    causes = {
        "--disable-all-extensions": shared.cmd_opts.disable_all_extensions,
        "--disable-extra-extensions": shared.cmd_opts.disable_extra_extensions,
        "setting disable_all_extensions": shared.opts.disable_all_extensions != "none",
    }
    for cause, is_given in causes.items():
        if is_given:
            logger.warning("%s: extensions are not loaded", cause)
            return


def _add_extension(name: str, path: str, *, is_builtin: bool) -> None:
    metadata = ExtensionMetadata(path, name)
    other = loaded_extensions.get(metadata.canonical_name)
    if other is not None:
        errors.report(
            f"Extensions {other.path} and {path} have the same name without regard to case: the second is not loaded"
        )
        return
    enabled = name not in shared.opts.disabled_extensions
    extension = Extension(name, path, enabled=enabled, is_builtin=is_builtin, metadata=metadata)
    extensions.append(extension)
    extension_paths[os.path.realpath(path)] = extension
    loaded_extensions[extension.canonical_name] = extension


def _check_requirements(extension: Extension) -> None:
    for name in extension.metadata.requires:
        required = loaded_extensions.get(name)
        if required is None:
            errors.report(f"Extension {extension.name} needs extension {name}, which is not installed")
        elif not required.enabled:
            errors.report(f"Extension {extension.name} needs extension {required.name}, which is disabled")


def active() -> list[Extension]:
    """Returns the extensions that are to be loaded, as flags and settings leave them enabled."""
    if shared.cmd_opts.disable_all_extensions or shared.opts.disable_all_extensions == "all":
        return []
    only_builtin = shared.cmd_opts.disable_extra_extensions or shared.opts.disable_all_extensions == "extra"
    return [x for x in extensions if x.enabled and (x.is_builtin or not only_builtin)]


def find_extension(filename: str) -> Extension | None:
    """Returns the extension a file belongs to."""
    path = os.path.realpath(filename)
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        if path in extension_paths:
            return extension_paths[path]
    return None


def list_files(basedir: str, subdir: str, extension: str) -> list[ScriptFile]:
    """Returns files in basedir/subdir whose names end in extension (".py"), sorted by name."""
    folder = os.path.join(basedir, subdir)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    files = [ScriptFile(basedir, name, os.path.join(folder, name)) for name in names]
    return [x for x in files if os.path.splitext(x.filename)[1].lower() == extension and os.path.isfile(x.path)]


@dataclass
class ScriptWithDependencies:
    """A file with the names of files or extensions that are to be loaded with it, after it and before it.

    script_canonical_name: as metadata.ini files call it.
    """

    script_canonical_name: str
    file: ScriptFile
    requires: list[str] = field(default_factory=list)
    load_before: list[str] = field(default_factory=list)
    load_after: list[str] = field(default_factory=list)


def list_scripts(scriptdirname: str, extension: str, *, include_extensions: bool = True) -> list[ScriptFile]:
    """Returns the files of one kind (scriptdirname "scripts", extension ".py") of the program and of the active
    extensions.

    In load order: the program's first, then extension by extension, changed by what their metadata.ini asks for. There,
    a file of the program is called by its name, one of an extension <extension>/<name> (built-in ones
    builtin/<extension>/<name>), and the name of an extension means all of its files.
    """
    own = [ScriptWithDependencies(x.filename.lower(), x) for x in list_files(script_path, scriptdirname, extension)]
    files = {item.script_canonical_name: item for item in own}
    names_of: dict[str, list[str]] = {}
    for owner in active() if include_extensions else ():
        owned = {item.script_canonical_name: item for item in _extension_files(owner, scriptdirname, extension)}
        files |= owned
        names_of[owner.canonical_name] = list(owned)
    _report_missing(files, names_of)
    return [files[name].file for name in topological_sort(_predecessors(files, names_of))]


def _report_missing(files: Mapping[str, ScriptWithDependencies], names_of: Mapping[str, list[str]]) -> None:
    """Reports what files require and nobody has loaded."""
    for item in files.values():
        for required in item.requires:
            if required not in files and required not in names_of:
                errors.report(f"{item.file.path} needs {required}, which is not loaded")


def _predecessors(
    files: Mapping[str, ScriptWithDependencies], names_of: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Returns which files each file comes after. names_of: the files of an extension, which its name stands for."""

    def expanded(names: Iterable[str]) -> Iterator[str]:
        """Yields the files that names stand for; names nobody has stand for none."""
        for name in names:
            yield from [name] if name in files else names_of.get(name, [])

    found = {name: list(expanded(item.load_after)) for name, item in files.items()}
    for name, item in files.items():
        for successor in expanded(item.load_before):
            found[successor].append(name)
    return found


def _extension_files(owner: Extension, scriptdirname: str, extension: str) -> Iterator[ScriptWithDependencies]:
    prefix = f"builtin/{owner.canonical_name}" if owner.is_builtin else owner.canonical_name
    for file in owner.list_files(scriptdirname, extension):
        requires, before, after = (
            owner.metadata.get_script_requirements(key, f"{scriptdirname}/{file.filename}", scriptdirname)
            for key in ("Requires", "Before", "After")
        )
        yield ScriptWithDependencies(f"{prefix}/{file.filename.lower()}", file, requires, before, after)
