"""The stand-in for pkg_resources."""

import importlib
import os
from importlib import metadata

import pytest

from modules import launch_utils, paths  # noqa: F401  # puts the package on the path


@pytest.fixture
def resources():
    return importlib.import_module("pkg_resources")


def test_installed_packages_are_found_and_compared(resources):
    found = resources.get_distribution("pytest")
    assert found == ("pytest", metadata.version("pytest")) and found.parsed_version > resources.parse_version("1.0")
    assert resources.require("pytest>=1", "packaging")[0] == found
    with pytest.raises(resources.VersionConflict):
        resources.require("pytest<1")
    with pytest.raises(resources.DistributionNotFound):
        resources.get_distribution("no-such-package")
    assert resources.packaging.version.parse("1") == resources.parse_version("1.0")


def test_files_of_packages_are_found(resources):
    assert resources.resource_filename("json", "tool.py") == os.path.join(
        os.path.dirname(os.__file__), "json", "tool.py"
    )
    assert resources.resource_exists(pytest, "__init__.py") and not resources.resource_exists("json", "nothing/here")


def test_installers_have_it(tmp_path, capsys):
    (tmp_path / "install.py").write_text(
        "import pkg_resources; print(pkg_resources.get_distribution('pytest').version)"
    )
    launch_utils.run_extension_installer(str(tmp_path))
    assert capsys.readouterr().out.strip() == metadata.version("pytest")
