import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modules import sysinfo


@pytest.fixture
def no_torch(monkeypatch):
    """What torch says about itself takes seconds to collect."""
    monkeypatch.setattr(sysinfo, "get_torch_sysinfo", lambda: {"torch_version": "2"})


def test_text_is_json_whose_checksum_shows_changes(no_torch):
    text = sysinfo.get()
    facts = json.loads(text)
    for key in ("Platform", "Python", "Version", "CPU", "RAM", "Packages", "Config", "Environment", "Commandline"):
        assert key in facts
    assert sysinfo.check(text)
    assert sysinfo.check(text.replace("\n", "\r\n") + "\n")
    assert not sysinfo.check(text.replace(facts["Python"], "2.7"))
    assert not sysinfo.check("{}")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.0KB"),
        (10 * 1024, "10KB"),
        (1.5 * 1024**3, "1.5GB"),
        (2.0**90, "1048576ZB"),
    ],
)
def test_pretty_bytes(number, text):
    assert sysinfo.pretty_bytes(number) == text


def test_secrets_of_the_command_line_are_hidden(monkeypatch):
    arguments = [
        "x",
        "--api-auth",
        "user:pass",
        "--ngrok=token",
        "--gradio-auth",
        "a:b",
        "--port",
        "5",
        "--gradio-auth-p",
        "f",
        "--my-hub-token",
        "t",
        "u",
        "--use-keys",
        "--listen",
    ]
    monkeypatch.setattr(sysinfo.sys, "argv", arguments)
    assert sysinfo.get_argv() == [
        *["x", "--api-auth", "<hidden>", "--ngrok=<hidden>", "--gradio-auth", "<hidden>"],
        *["--port", "5", "--gradio-auth-p", "<hidden>"],
        *["--my-hub-token", "<hidden>", "<hidden>", "--use-keys", "--listen"],
    ]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("api_auth", None, None),
        ("use_auth", True, True),
        ("my_pin_key", 1234, None),
        ("author", "me", "me"),
        ("keyboard", "qwerty", "qwerty"),
        ("my_password", "p", "<hidden>"),
        ("ngrok_options", {"a": 1}, {"a": "<hidden>"}),
        ("keys", ("a", "b"), ["<hidden>"] * 2),
    ],
)
def test_values_of_flags_whose_name_says_secret(name, value, shown):
    assert sysinfo.without_secret(name, value) == shown


def test_environment_shows_known_names_without_logins(monkeypatch):
    monkeypatch.setenv("INDEX_URL", "https://user:pass@index.example.org/simple")
    monkeypatch.setenv("MY_SECRET", "x")
    environment = sysinfo.get_environment()
    assert environment["INDEX_URL"] == "https://index.example.org/simple"
    assert "MY_SECRET" not in environment


def test_settings_that_look_secret_are_hidden(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"hub_token": "x", "empty_password": "", "steps": 5}), encoding="utf8")
    assert sysinfo.get_config(str(path)) == {"hub_token": "<hidden>", "empty_password": "", "steps": 5}


@pytest.mark.parametrize("function", [sysinfo.get_ram_info, sysinfo.get_cpu_info])
def test_missing_psutil_is_told(monkeypatch, function):
    assert "error" not in function()
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert "psutil" in function()["error"]


def test_packages_are_listed_with_versions():
    assert any(line.startswith("pytest==") for line in sysinfo.get_packages())


def test_torch_is_asked_in_another_process(monkeypatch):
    answer = json.dumps({"torch_version": "2", "pip_packages": "a\nb"})
    sysinfo.torch_environment.cache_clear()
    monkeypatch.setattr(sysinfo.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1, "", "no torch"))
    assert sysinfo.get_torch_sysinfo().startswith("not available")
    asked = []
    completed = subprocess.CompletedProcess([], 0, answer, "")
    monkeypatch.setattr(sysinfo.subprocess, "run", lambda *a, **k: asked.append(a) or completed)
    for _ in range(2):
        assert sysinfo.get_torch_sysinfo() == {"torch_version": "2", "pip_packages": ["a", "b"]}
    assert len(asked) == 1
    sysinfo.torch_environment.cache_clear()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_extensions_are_told_apart_and_described(tmp_path, monkeypatch):
    folder = tmp_path / "extensions"
    for name in ("on", "off"):
        (folder / name).mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps({"disabled_extensions": ["off"]}), encoding="utf8")
    for command in (["init", "-q", "-b", "side"], ["remote", "add", "origin", "https://me:secret@example.org/on"]):
        subprocess.check_call(["git", "-C", str(folder / "on"), *command])
    monkeypatch.setattr(sysinfo.paths_internal, "extensions_dir", str(folder))
    monkeypatch.setattr(sysinfo.launch_utils.args, "ui_settings_file", str(tmp_path / "config.json"))

    (active,) = sysinfo.get_extensions(enabled=True)
    (inactive,) = sysinfo.get_extensions(enabled=False)
    assert (active["name"], active["branch"], active["remote"]) == ("on", "side", "https://example.org/on")
    assert (inactive["name"], inactive["version"], inactive["remote"]) == ("off", None, None)
    assert sysinfo.git_status(folder / "on").startswith("## ")
    assert sysinfo.git_status(folder / "off") is None


def test_without_extensions_or_git_there_is_nothing_to_say(tmp_path, monkeypatch):
    monkeypatch.setattr(sysinfo.paths_internal, "extensions_dir", str(tmp_path / "none"))
    monkeypatch.setattr(sysinfo.launch_utils, "git", "no-such-git")
    assert sysinfo.get_extensions(enabled=True) == []
    assert sysinfo.run_git(Path(), "status") is None


def test_file_name_carries_the_time():
    assert sysinfo.default_filename().startswith("sysinfo-20") and sysinfo.default_filename().endswith(".json")
