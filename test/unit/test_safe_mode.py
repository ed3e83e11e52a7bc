"""A start that died while it loaded an extension, and the next one."""

import json
import logging
import os
import subprocess
import sys

import pytest

from modules import safe_mode
from modules.paths_internal import extensions_builtin_dir, extensions_dir

LOADING = """
import os, sys, time
sys.argv = ["x", "--data-dir", {data!r}]
from modules import safe_mode
safe_mode.marker.begin()
safe_mode.marker.note(os.path.join(safe_mode.extensions_dir, "bad", "scripts", "a.py"))
print("loading", flush=True)
{then}
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """program(then) starts a process that loads the extension "bad" and then does something; the files of safe mode
    are those of its data folder here too.
    """
    cache = tmp_path / "cache"
    monkeypatch.setattr(safe_mode, "marker", safe_mode.Marker(str(cache / "loading-extension")))
    monkeypatch.setattr(safe_mode, "LEFT_OUT", str(cache / "left-out-extensions.json"))

    def start(then):
        code = LOADING.format(data=str(tmp_path), then=then)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SD_WEBUI_CACHE")}
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
        assert process.stdout.readline() == b"loading\n"
        return process

    return start


@pytest.fixture
def settings_file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"disabled_extensions": ["other"], "samples_format": "webp"}), encoding="utf8")
    return path


def test_the_extension_that_a_start_died_of_is_left_out_once(program, settings_file, caplog):
    assert program("os._exit(3)").wait() == 3
    assert safe_mode.recover(str(settings_file)) == "bad"
    stored = json.loads(settings_file.read_text(encoding="utf8"))
    assert stored == {"disabled_extensions": ["bad", "other"], "samples_format": "webp"}
    assert "bad: it is left out" in caplog.text and caplog.records[-1].levelno == logging.ERROR
    assert "died" in safe_mode.left_out()["bad"]
    assert safe_mode.recover(str(settings_file)) == ""
    safe_mode.forget_left_out({"bad"})
    assert safe_mode.left_out() == {}


@pytest.mark.parametrize(
    "then",
    [
        "safe_mode.marker.end()",
        'safe_mode.marker.note("")',
        "safe_mode.marker.note(os.path.join(os.getcwd(), 'scripts', 'x.py'))",
        "os.kill(os.getpid(), 15); time.sleep(60)",
    ],
    ids=["start is over", "no extension runs", "a file of the program runs", "ended from outside"],
)
def test_other_ends_leave_nothing_out(program, settings_file, then):
    program(then).wait()
    before = settings_file.read_text(encoding="utf8")
    assert safe_mode.recover(str(settings_file)) == ""
    assert settings_file.read_text(encoding="utf8") == before


def test_a_start_that_is_still_under_way_has_not_died(program, settings_file):
    process = program("sys.stdin.read()")
    try:
        assert safe_mode.recover(str(settings_file)) == ""
        second = safe_mode.Marker(safe_mode.marker.path)
        second.begin()
        second.note(os.path.join(extensions_dir, "good", "scripts", "a.py"))
        second.end()
    finally:
        process.kill()
        process.wait()
    assert safe_mode.recover(str(settings_file)) == "bad"


@pytest.mark.parametrize(("answer", "is_left_out"), [("", True), ("y", True), ("n", False), ("No", False)])
def test_at_a_terminal_the_user_is_asked(program, settings_file, monkeypatch, answer, is_left_out):
    program("os._exit(1)").wait()
    monkeypatch.setattr(safe_mode, "is_interactive", lambda: True)
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answer)
    assert safe_mode.recover(str(settings_file)) == ("bad" if is_left_out else "")
    assert len(questions) == 1 and "extension bad" in questions[0]
    assert ("bad" in settings_file.read_text(encoding="utf8")) == is_left_out


def test_damaged_settings_are_not_written(program, settings_file, caplog):
    program("os._exit(1)").wait()
    settings_file.write_text('{"samples_format": "we', encoding="utf8")
    assert safe_mode.recover(str(settings_file)) == ""
    assert settings_file.read_text(encoding="utf8") == '{"samples_format": "we'
    assert "--disable-extra-extensions" in caplog.text


def test_files_belong_to_the_extension_in_whose_folder_they_lie():
    for folder in (extensions_dir, extensions_builtin_dir):
        assert safe_mode.extension_of(os.path.join(folder, "x", "scripts", "a.py")) == "x"
    assert safe_mode.extension_of(extensions_dir + "2/x/a.py") == ""
