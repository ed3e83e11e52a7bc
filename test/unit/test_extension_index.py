"""The list of extensions that can be had: reading it, its orders and filters."""

import json

import pytest

from modules import errors, extension_index

ENTRIES = [
    {"name": "b", "url": "u1", "tags": ["x", "y"], "added": "2023-01-01", "stars": 3, "created_at": "2020"},
    {"name": "A", "url": "u2", "tags": ["x"], "added": "2024-01-01", "commit_time": "2022", "created": "2021"},
    {"name": "c", "url": "u3", "description": "Has a WORD", "added": "2022-01-01", "stars": 9, "commit_time": "2023"},
]


def index():
    return extension_index.read(json.dumps({"tags": {"x": "exes"}, "extensions": ENTRIES}), "here")


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("newest first", "Abc"),
        ("oldest first", "cbA"),
        ("a-z", "Abc"),
        ("z-a", "cbA"),
        ("internal order", "bAc"),
        ("update time", "cAb"),
        ("create time", "Abc"),
        ("stars", "cbA"),
    ],
)
def test_orders(label, names):
    order = [row[0] for row in extension_index.ORDERS].index(label)
    assert "".join(entry["name"] for entry in extension_index.in_order(index()["extensions"], order)) == names


@pytest.mark.parametrize(
    ("ticked", "is_hiding", "needs_all", "text", "names"),
    [
        ([], True, False, "", "bAc"),
        ([], False, True, "", "bAc"),
        (["x"], True, False, "", "c"),
        (["x", "y"], True, True, "", "Ac"),
        (["x", "y"], False, False, "", "bA"),
        (["x", "y"], False, True, "", "b"),
        (["nobody has it"], False, False, "", ""),
        ([], True, False, " word", "c"),
        ([], True, False, "a", "Ac"),
        (["x"], False, False, "a", "A"),
    ],
)
def test_filters(ticked, is_hiding, needs_all, text, names):
    shown = [
        entry["name"]
        for entry in index()["extensions"]
        if extension_index.is_shown(entry, ticked, is_hiding=is_hiding, needs_all=needs_all, text=text)
    ]
    assert "".join(shown) == names


def test_entries_of_odd_types_are_read_as_far_as_they_go():
    odd = [{"name": 5, "url": "u", "tags": "x", "description": None}, {"name": "no address"}, "text", None]
    found = extension_index.read(json.dumps({"extensions": odd}), "here")
    assert found == {"tags": {}, "extensions": [{"name": "5", "url": "u", "tags": [], "description": ""}]}


@pytest.mark.parametrize("content", ["<html>", "[]", "{}", '{"extensions": 5}', '{"extensions": [], "tags": []}', "5"])
def test_what_is_no_index_is_refused(content):
    if content == '{"extensions": [], "tags": []}':  # as an empty object of PHP
        assert extension_index.read(content, "here") == {"tags": {}, "extensions": []}
        return
    with pytest.raises(errors.InvalidInput, match="here is no index"):
        extension_index.read(content, "here")


def test_an_index_is_fetched_from_an_address(tmp_path):
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"extensions": ENTRIES}), encoding="utf8")
    assert len(extension_index.fetch(path.as_uri())["extensions"]) == 3


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "no address", "", "file:///nowhere/x.json"])
def test_what_cannot_be_fetched_is_said(address):
    with pytest.raises(errors.InvalidInput) as raised:
        extension_index.fetch(address)
    assert "Offline?" in raised.value.message and raised.value.field == "Extension index URL"


def test_an_endless_answer_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(extension_index, "MOST_BYTES", 3)
    path = tmp_path / "index.json"
    path.write_text("12345", encoding="utf8")
    with pytest.raises(errors.InvalidInput, match="more than 3 bytes"):
        extension_index.fetch(path.as_uri())
