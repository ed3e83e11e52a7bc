"""What extensions may not change about the packages of the program."""

import subprocess
import sys

import pytest

from modules import launch_pins, launch_utils

PINS = {"gradio": "6.31.0", "pydantic": "2.14.4", "opencv-python-headless": "5.0.0.93"}


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("install gradio==3.41.2", ["gradio==3.41.2 is asked for, but the program needs gradio 6.31.0"]),
        ("install -U 'pydantic<=1.10.17' einops", ["pydantic<=1.10.17"]),
        ('install "Opencv_Python.headless<5"', ["Opencv_Python.headless<5"]),
        ("install gradio>=3 pydantic~=2.0 einops==0.1", []),
        ("install 'gradio<4; sys_platform == \"another\"'", []),
        ("install https://example.org/gradio-3.zip", []),
        ("uninstall gradio==3", []),
    ],
)
def test_conflicts_are_named(command, named):
    found = launch_pins.conflicts(command, PINS)
    assert len(found) == len(named) and all(name in sentence for name, sentence in zip(named, found, strict=True))


def test_files_of_requirements_are_read(tmp_path):
    file = tmp_path / "requirements of mine.txt"
    file.write_text("# comment\neinops\npydantic<2  # old\n-r other.txt\n")
    (sentence,) = launch_pins.conflicts(f'install -r "{file}" --no-deps', PINS)
    assert sentence.startswith("pydantic<2 is asked for")


def test_run_pip_refuses_before_anything_happens(monkeypatch):
    monkeypatch.setattr(launch_utils, "run", lambda *args, **kwargs: pytest.fail("pip was run"))
    with pytest.raises(RuntimeError, match="nothing was changed: gradio<4.* is asked for"):
        launch_utils.run_pip("install 'gradio<4' einops", "requirements of mine")


def test_the_lock_file_holds_but_for_what_the_user_chose(monkeypatch):
    monkeypatch.delenv("TORCH_COMMAND", raising=False)
    pins = launch_utils.pinned()
    assert {"gradio", "pydantic", "numpy", "torch", "starlette"} <= pins.keys() and "setuptools" not in pins
    monkeypatch.setenv("TORCH_COMMAND", "pip install torch")
    assert not {"torch", "torchvision"} & launch_utils.pinned().keys()


def test_pip_of_an_installer_is_held_to_the_pins(tmp_path, capsys):
    code = "import os; print(open(os.environ['PIP_CONSTRAINT']).read())"
    (tmp_path / "install.py").write_text(code)
    launch_utils.run_extension_installer(str(tmp_path))
    assert f"gradio=={launch_utils.pinned()['gradio']}" in capsys.readouterr().out.splitlines()


def test_pip_refuses_what_contradicts_the_file():
    with launch_pins.constraints({"pip": "1.0"}) as path:
        pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "pip==2.0", "-c", path]
        refused = subprocess.run(pip, capture_output=True, text=True)
    assert refused.returncode and "conflicting dependencies" in refused.stderr
