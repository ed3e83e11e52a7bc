import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def parse(data_dir, *arguments, **environment):
    """Parses a command line in a new process; returns the options and what was logged, or the error."""
    code = (
        f"import sys, json; sys.argv = ['launch.py', '--data-dir', {str(data_dir)!r}, *{list(arguments)!r}]\n"
        "from modules.shared_cmd_options import cmd_opts\nprint(json.dumps(vars(cmd_opts)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, capture_output=True, encoding="utf8"
    )
    return (json.loads(answer.stdout) if answer.returncode == 0 else None), answer.stderr


def add_extension(data_dir, name, preload):
    folder = data_dir / "extensions" / name
    folder.mkdir(parents=True)
    (folder / "preload.py").write_text(preload, encoding="utf8")


@pytest.mark.parametrize(
    ("arguments", "is_non_local", "is_access_disabled"),
    [
        ([], False, False),
        (["--listen"], True, True),
        (["--share"], True, True),
        (["--ngrok", "token"], True, True),
        (["--server-name", "127.0.0.1", "--enable-insecure-extension-access"], True, False),
    ],
)
def test_server_that_is_open_to_others_disables_extension_access(tmp_path, arguments, is_non_local, is_access_disabled):
    options, _ = parse(tmp_path, *arguments)
    assert bool(options["webui_is_non_local"]) == is_non_local
    assert bool(options["disable_extension_access"]) == is_access_disabled


def test_styles_file_defaults_to_the_data_folder(tmp_path):
    assert parse(tmp_path)[0]["styles_file"] == [str(tmp_path / "styles.csv")]
    assert parse(tmp_path, "--styles-file", "x")[0]["styles_file"] == ["x"]


def test_unknown_flag_is_an_error_unless_errors_are_ignored(tmp_path):
    options, log = parse(tmp_path, "--apii")
    assert options is None and "did you mean --api?" in log
    options, _ = parse(tmp_path, "--apii", IGNORE_CMD_ARGS_ERRORS="1")
    assert options["api"] is False


def test_obsolete_flag_is_said_once(tmp_path):
    _, log = parse(tmp_path, "--unload-gfpgan")
    assert log.count("--unload-gfpgan has no effect") == 1


def test_enabled_extensions_add_flags_and_a_broken_one_is_reported(tmp_path):
    add_extension(tmp_path, "good", "def preload(parser): parser.add_argument('--good-flag', default=1)")
    add_extension(tmp_path, "off", "def preload(parser): parser.add_argument('--off-flag', default=1)")
    add_extension(tmp_path, "broken", "raise ValueError('broken preload')")
    (tmp_path / "config.json").write_text(json.dumps({"disabled_extensions": ["off"]}), encoding="utf8")

    options, log = parse(tmp_path, "--good-flag", "5")
    assert options["good_flag"] == "5" and "off_flag" not in options
    assert "broken preload" in log


def test_flags_of_extensions_are_unknown_when_extensions_are_off(tmp_path):
    add_extension(tmp_path, "good", "def preload(parser): parser.add_argument('--good-flag')")
    assert parse(tmp_path, "--disable-extra-extensions", "--good-flag", "5")[0] is None


def test_flags_of_the_program_are_there_while_extensions_add_theirs(tmp_path):
    code = (
        "from modules.shared_cmd_options import cmd_opts\n"
        "def preload(parser): parser.add_argument('--where', default=cmd_opts.styles_file[0])"
    )
    add_extension(tmp_path, "early", code)
    options, log = parse(tmp_path, "--embeddings-dir", "a", "--styles-file", "x", "--styles-file", "y")
    assert options["where"] == "x" and options["styles_file"] == ["x", "y"], log
