import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modules import paths, paths_internal

ROOT = Path(__file__).resolve().parents[2]
SHOW = """
import json, sys
from modules import paths_internal as p
print(json.dumps({k: v for k, v in vars(p).items() if isinstance(v, str)} | {"argv": sys.argv}))
"""


def paths_of(*arguments, **environment):
    """The module's values in a new process with these arguments and environment variables."""
    code = f"import sys; sys.argv = ['launch.py', *{list(arguments)!r}]\n{SHOW}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return json.loads(subprocess.check_output([sys.executable, "-c", code], env=environment, cwd=ROOT.parent))


def test_data_lies_beside_the_program_unless_told_otherwise():
    found = paths_of()
    assert found["data_path"] == found["script_path"] == str(ROOT)
    assert found["models_path"] == str(ROOT / "models")
    assert found["extensions_builtin_dir"] == str(ROOT / "extensions-builtin")


def test_data_dir_moves_what_belongs_to_the_user(tmp_path):
    found = paths_of("--data-dir", str(tmp_path), "--port", "5")
    assert found["models_path"] == str(tmp_path / "models")
    assert found["extensions_dir"] == str(tmp_path / "extensions")
    assert found["default_output_dir"] == str(tmp_path / "outputs")
    assert found["script_path"] == str(ROOT)


def test_models_dir_stands_alone_and_relative_paths_become_absolute():
    found = paths_of("--models-dir=here/m", "--data-dir", "d")
    assert found["models_path"] == str(ROOT.parent / "here" / "m")
    assert found["data_path"] == str(ROOT.parent / "d")


def test_commandline_args_are_appended_to_the_command_line(tmp_path):
    found = paths_of("--api", COMMANDLINE_ARGS=f'--data-dir "{tmp_path}/a b" --xformers')
    assert found["argv"] == ["launch.py", "--api", "--data-dir", f"{tmp_path}/a b", "--xformers"]
    assert found["data_path"] == str(tmp_path / "a b")


@pytest.mark.parametrize(
    ("system", "line", "expected"),
    [
        ("posix", r"--a 'b c' d\ e", ["--a", "b c", "d e"]),
        ("nt", r'--data-dir "C:\my files" --ckpt C:\x.ckpt', ["--data-dir", r"C:\my files", "--ckpt", r"C:\x.ckpt"]),
    ],
)
def test_arguments_are_split_as_the_shell_of_the_system_does(monkeypatch, system, line, expected):
    monkeypatch.setattr(paths_internal.os, "name", system)
    assert paths_internal.split_arguments(line) == expected


def test_embedded_files_are_shipped():
    assert (Path(paths_internal.embedded_dir) / "clip-tokenizer" / "vocab.json").is_file()


def test_paths_offers_the_names_extensions_import():
    for name in ("models_path", "script_path", "data_path", "extensions_dir", "extensions_builtin_dir", "cwd"):
        assert getattr(paths, name) == getattr(paths_internal, name)
    assert paths.script_path in sys.path
    assert paths.paths["Stable Diffusion"] == paths.sd_path
