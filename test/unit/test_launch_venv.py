import importlib.util
import os
import subprocess
import sys

import pytest

from modules import launch_venv
from modules.paths_internal import script_path


@pytest.fixture
def environment(monkeypatch):
    for name in ("venv_dir", "VENV_DIR", "SKIP_VENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, os.path.join(script_path, "venv")),
        ({"venv_dir": "other"}, os.path.join(script_path, "other")),
        ({"VENV_DIR": os.path.abspath(os.sep)}, os.path.abspath(os.sep)),
        ({"venv_dir": "-"}, None),
        ({"SKIP_VENV": "1"}, None),
    ],
)
def test_folder_is_beside_the_program_unless_told_otherwise(environment, variables, expected):
    for name, value in variables.items():
        environment.setenv(name, value)
    assert launch_venv.folder() == expected


@pytest.mark.parametrize(
    ("base_prefix", "conda", "expected"),
    [
        ("/usr", {}, True),
        ("same", {}, False),
        ("same", {"CONDA_DEFAULT_ENV": "sd"}, True),
        ("same", {"CONDA_DEFAULT_ENV": "base"}, False),
    ],
)
def test_inside_is_a_venv_or_a_conda_environment_but_its_base(environment, base_prefix, conda, expected):
    environment.setattr(launch_venv.sys, "base_prefix", sys.prefix if base_prefix == "same" else base_prefix)
    if conda:
        environment.setenv("CONDA_PREFIX", sys.prefix)
    for name, value in conda.items():
        environment.setenv(name, value)
    assert launch_venv.is_inside() is expected


def test_python_of_a_folder(environment):
    environment.setattr(launch_venv.os, "name", "nt")
    assert launch_venv.python_of("v") == os.path.join("v", "Scripts", "python.exe")
    environment.setattr(launch_venv.os, "name", "posix")
    assert launch_venv.python_of("v") == os.path.join("v", "bin", "python")


def test_python_that_cannot_make_one_is_explained(environment, tmp_path):
    environment.setattr(launch_venv.sys, "executable", "false" if os.name == "posix" else sys.executable)
    if os.name != "posix":
        pytest.skip("no program that only fails")
    with pytest.raises(RuntimeError, match="python3-venv"):
        launch_venv.create(str(tmp_path / "venv"))


@pytest.mark.skipif(
    importlib.util.find_spec("ensurepip") is None, reason="this Python cannot make virtual environments"
)
def test_launcher_makes_one_and_continues_inside_once(tmp_path):
    environment = {
        key: value for key, value in os.environ.items() if key not in ("SKIP_VENV", "VENV_DIR", "CONDA_PREFIX")
    }
    environment |= {"venv_dir": str(tmp_path / "venv"), "COMMANDLINE_ARGS": "--skip-install"}
    command = [
        getattr(sys, "_base_executable", sys.executable),
        "launch.py",
        "--exit",
        "--data-dir",
        str(tmp_path / "data"),
    ]
    checking = [*command, "--check-extension", os.path.join(script_path, "docs", "template_extension")]
    first, second = (
        subprocess.check_output(command, cwd=script_path, env=environment, encoding="utf8") for _ in range(2)
    )
    assert "Creating a virtual environment" in first and "Creating" not in second
    assert "Version: " in first and "Version: " in second
    venv_python = launch_venv.python_of(str(tmp_path / "venv"))
    assert os.path.exists(venv_python)
    told = subprocess.check_output(checking, cwd=script_path, env=environment, encoding="utf8")
    assert f'"{venv_python}" -m pip install gradio' in told and "Version: " not in told
