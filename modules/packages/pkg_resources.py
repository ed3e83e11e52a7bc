"""base: what extensions and their installers use of pkg_resources, which setuptools no longer brings."""

from __future__ import annotations

import importlib
import os
from importlib import metadata
from types import ModuleType
from typing import NamedTuple

import packaging.requirements
import packaging.specifiers
import packaging.version
from packaging.requirements import Requirement
from packaging.version import Version
from packaging.version import parse as parse_version

__all__ = [
    "Distribution",
    "DistributionNotFound",
    "Requirement",
    "ResolutionError",
    "VersionConflict",
    "get_distribution",
    "packaging",
    "parse_version",
    "require",
    "resource_exists",
    "resource_filename",
]


class ResolutionError(Exception):
    """What is required is not there."""


class DistributionNotFound(ResolutionError):
    """A package is not installed."""


class VersionConflict(ResolutionError):
    """A package is installed in another version."""


class Distribution(NamedTuple):
    """An installed package."""

    project_name: str
    version: str

    @property
    def parsed_version(self) -> Version:
        """The version, to be compared."""
        return parse_version(self.version)


def get_distribution(requirement: str) -> Distribution:
    """Returns an installed package. Raises DistributionNotFound, or VersionConflict if it is not of the version asked
    for.
    """
    wanted = Requirement(requirement)
    try:
        found = Distribution(wanted.name, metadata.version(wanted.name))
    except metadata.PackageNotFoundError as e:
        raise DistributionNotFound(f"{wanted.name} is not installed") from e
    if not wanted.specifier.contains(found.version, prereleases=True):
        raise VersionConflict(f"{wanted} is asked for, {found.version} is installed")
    return found


def require(*requirements: str) -> list[Distribution]:
    """Returns installed packages; raises what `get_distribution` raises."""
    return [get_distribution(requirement) for requirement in requirements]


def resource_filename(package: str | ModuleType, name: str) -> str:
    """Returns the path of a file that belongs to a package."""
    module = importlib.import_module(package) if isinstance(package, str) else package
    folder = os.path.dirname(module.__file__) if module.__file__ else next(iter(module.__path__))
    return os.path.join(folder, *name.split("/"))


def resource_exists(package: str | ModuleType, name: str) -> bool:
    """Tells whether a package has a file."""
    return os.path.exists(resource_filename(package, name))
