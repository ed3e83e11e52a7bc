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
    ],
)
def test_enabled_extensions_are_those_the_settings_leave(tmp_path, extensions_dir, settings, expected):
    path = write(tmp_path / "config.json", settings)
    assert settings_file.enabled_extensions(path, extensions_dir) == expected


def test_no_folder_no_extensions(tmp_path):
    assert settings_file.enabled_extensions(str(tmp_path / "config.json"), str(tmp_path / "none")) == []
