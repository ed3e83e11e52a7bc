import argparse

import pytest

from modules import script_loading


def write(folder, text, name="preload.py"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf8")
    return str(path)


def test_module_is_executed_and_remembered(tmp_path):
    path = write(tmp_path, "x = __name__", "my script.py")
    module = script_loading.load_module(path)
    assert module.x == "my script.py"
    assert script_loading.loaded_scripts[path] is module


def test_error_in_a_file_is_passed_on(tmp_path):
    with pytest.raises(ZeroDivisionError):
        script_loading.load_module(write(tmp_path, "1 / 0"))


def test_file_that_is_not_python_is_refused(tmp_path):
    with pytest.raises(ImportError, match="is not a Python file"):
        script_loading.load_module(write(tmp_path, "x", "readme.txt"))


def test_preload_of_each_extension_gets_the_parser(tmp_path, caplog):
    write(tmp_path / "a", "def preload(parser): parser.add_argument('--a')")
    write(tmp_path / "b", "x = 1")
    write(tmp_path / "c", "def preload(parser): raise ValueError('bad preload')")
    (tmp_path / "d").mkdir()
    write(tmp_path / "e", "def preload(parser): parser.add_argument('--e')")
    parser = argparse.ArgumentParser()
    script_loading.preload_extensions(str(tmp_path), parser)
    assert vars(parser.parse_args(["--a", "1", "--e", "2"])) == {"a": "1", "e": "2"}
    assert "bad preload" in caplog.text


def test_only_listed_extensions_are_asked(tmp_path):
    write(tmp_path / "a", "def preload(parser): parser.add_argument('--a')")
    write(tmp_path / "b", "def preload(parser): parser.add_argument('--b')")
    parser = argparse.ArgumentParser()
    script_loading.preload_extensions(str(tmp_path), parser, ["b", "missing"])
    assert vars(parser.parse_args([])) == {"b": None}


def test_missing_folder_is_no_error(tmp_path):
    script_loading.preload_extensions(str(tmp_path / "none"), argparse.ArgumentParser())
