import argparse
import importlib
import re
import sys

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


def test_a_file_does_not_end_the_program(tmp_path):
    with pytest.raises(ImportError, match=r"leaves\.py would end the program: sys\.exit\(1\)"):
        script_loading.load_module(write(tmp_path, "import sys; sys.exit(1)", "leaves.py"))


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


def test_class_finds_its_file_while_it_is_made(tmp_path):
    source = "import inspect\nclass A: pass\npath = inspect.getfile(A)"
    path = write(tmp_path, source, "named.py")
    assert script_loading.load_module(path).path == path
    assert sys.modules["named.py"].path == path


def test_failing_file_leaves_no_module(tmp_path):
    good = write(tmp_path / "a", "x = 1", "same.py")
    bad = write(tmp_path / "b", "1 / 0", "same.py")
    module = script_loading.load_module(good)
    with pytest.raises(ZeroDivisionError):
        script_loading.load_module(bad)
    assert sys.modules["same.py"] is module
    with pytest.raises(ZeroDivisionError):
        script_loading.load_module(write(tmp_path, "1 / 0", "never.py"))
    assert "never.py" not in sys.modules


@pytest.fixture
def search_paths(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    package = script_loading.scripts_package()
    monkeypatch.setattr(package, "__path__", list(package.__path__))
    yield package
    for name in [name for name in sys.modules if name.startswith("scripts.in_")]:
        del sys.modules[name]


def test_extension_imports_its_own_files_first(tmp_path, search_paths):
    for folder in ("one", "two"):
        write(tmp_path / folder / "scripts", f"NAME = '{folder}'", f"in_{folder}.py")
        write(tmp_path / folder / "scripts", f"NAME = '{folder}'", "in_both.py")
    with script_loading.importing_from(str(tmp_path / "one")):
        assert sys.path[0] == str(tmp_path / "one")
        assert importlib.import_module("scripts.in_both").NAME == "one"
    with script_loading.importing_from(str(tmp_path / "two")):
        assert importlib.import_module("scripts.in_two").NAME == "two"
    assert sys.path[-2:] == [str(tmp_path / "one"), str(tmp_path / "two")]
    assert importlib.import_module("scripts.in_one").NAME == "one"


def test_folder_is_put_back_after_an_error(tmp_path, search_paths):
    with pytest.raises(ValueError), script_loading.importing_from(str(tmp_path)):
        raise ValueError
    assert sys.path[0] != str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_package_of_scripts_replaces_one_that_was_found(monkeypatch):
    monkeypatch.setitem(sys.modules, "scripts", argparse)
    package = script_loading.scripts_package()
    assert package.__path__[0].endswith("scripts")
    assert script_loading.scripts_package() is package


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_package.inside", "the package no_such_package is missing: .* -m pip install no_such_package$"),
        ("from ldm.no_such import name", "^there is no ldm(.no_such)? in this program$"),
        ("raise ModuleNotFoundError(name='skimage')", "pip install scikit-image$"),
        ("raise ModuleNotFoundError(name='repositories.midas')", "^there is no repositories.midas in this program$"),
        (
            "raise ModuleNotFoundError(name='utils')",
            "^utils is a module of .*/BLIP: put a clone of that on PYTHONPATH$",
        ),
        ("from json import nothing_like_this", "^$"),
        ("1 / 0", "^$"),
    ],
)
def test_missing_package_is_named_with_what_installs_it(code, said):
    with pytest.raises(Exception) as error:  # noqa: PT011  # of several kinds
        exec(code)
    assert re.search(said, script_loading.how_to_install(error.value))
