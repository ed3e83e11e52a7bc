import json

import pytest

from modules import settings_file


@pytest.fixture
def extensions_dir(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / "extensions" / name).mkdir(parents=True)
    return str(tmp_path / "extensions")


def write(path, settings):
    path.write_text(json.dumps(settings), encoding="utf8")
    return str(path)


@pytest.mark.parametrize("content", [None, "", "{broken", "[1]", "\xff"])
def test_missing_or_damaged_file_counts_as_empty(tmp_path, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content, encoding="latin1")
    assert settings_file.read_settings(str(path)) == {}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["a", "b", "c"]),
        ({"disabled_extensions": ["b", "gone"]}, ["a", "c"]),
        ({"disable_all_extensions": "extra"}, []),
        ({"disable_all_extensions": "none"}, ["a", "b", "c"]),
        ({"disable_all_extensions": 5, "disabled_extensions": 3}, ["a", "b", "c"]),
        ({"disabled_extensions": [["a"], "b"]}, ["a", "c"]),
    ],
)
def test_enabled_extensions_are_those_the_settings_leave(tmp_path, extensions_dir, settings, expected):
    path = write(tmp_path / "config.json", settings)
    assert settings_file.enabled_extensions(path, extensions_dir) == expected


def test_no_folder_no_extensions(tmp_path):
    assert settings_file.enabled_extensions(str(tmp_path / "config.json"), str(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": 1, "b": [1, {"c": ', {"a": 1}),
        (b'{\n  "a": 1,\n  "b": 2', {"a": 1}),
        (b'{"a": 1, "b": tru', {"a": 1}),
        (b'{"a": {"x": [1]}, "b": 2}}}', {"a": {"x": [1]}, "b": 2}),
        (b'{"a": ' + b"[" * 100_000, {}),
    ],
)
def test_what_stands_before_the_damage_is_read(tmp_path, content, values):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    read, problem = settings_file.read(str(path))
    assert read == values
    assert (problem is None) is (content.endswith(b"1}"))


def test_a_folder_in_its_place_is_a_problem(tmp_path):
    assert settings_file.read(str(tmp_path))[0] == {}
    assert settings_file.read(str(tmp_path))[1]
