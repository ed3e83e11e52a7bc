"""The list of what is ours is true: everything on it exists, and v1.10.1 has none of it."""

import json
from pathlib import Path

import pytest

from modules import cmd_args, hooks, http_paths, sd_samplers, sd_schedulers, settings
from test.ours import OURS, without_ours

DATA = Path(__file__).parent / "data"


def facts(name, *keys):
    """A part of a file of facts about v1.10.1."""
    part = json.loads((DATA / f"{name}.json").read_text(encoding="utf8"))
    for key in keys:
        part = part[key]
    return part


def routes(client):
    """Every route of the API, as "METHOD /path"."""
    paths = client.get("/openapi.json").json()["paths"]
    own = {path: methods for path, methods in paths.items() if http_paths.is_api(path)}
    return [f"{method.upper()} {path}" for path, methods in own.items() for method in methods]


PRESENT = {
    "samplers": lambda: [row.name for row in sd_samplers.all_samplers],
    "schedulers": lambda: [row.name for row in sd_schedulers.schedulers],
    "settings": lambda: list(settings.all_options()),
    "callbacks": lambda: list(hooks.CALLBACK_HOOKS),
    "script_hooks": lambda: list(hooks.SCRIPT_HOOKS),
    "flags": lambda: [flag.name for flag in cmd_args.FLAGS + cmd_args.ADDED_FLAGS],
}
KNOWN = {
    "samplers": lambda: [row["name"] for row in facts("samplers", "samplers")],
    "schedulers": lambda: [row["name"] for row in facts("schedulers", "schedulers")],
    "settings": lambda: [
        row["key"] for row in (*facts("options", "options"), *facts("options", "notes", "option_html_notes"))
    ],
    "callbacks": lambda: [row["category"] for row in facts("callbacks", "registrars")],
    "script_hooks": lambda: [row["name"] for row in facts("callbacks", "script_class", "methods")],
    "flags": lambda: [name for row in facts("cli", "flags") for name in row["flags"]],
}


@pytest.mark.parametrize("kind", PRESENT)
def test_what_v1_10_1_has_not_is_listed_and_what_is_listed_is_there(kind):
    assert set(PRESENT[kind]()) - set(KNOWN[kind]()) == set(OURS[kind])


def test_routes_that_v1_10_1_has_not_are_listed(client):
    known = {f"{row['method']} {row['path']}" for row in facts("api", "endpoints")}
    assert set(routes(client)) - known == set(OURS["routes"])


def test_rows_of_ours_are_left_out_wherever_they_stand(monkeypatch):
    monkeypatch.setitem(OURS, "samplers", ("Mine",))
    assert without_ours("samplers", ["Euler", "Mine", "LMS"]) == ["Euler", "LMS"]
    assert without_ours("schedulers", ["Mine"]) == ["Mine"]
    assert without_ours("samplers", [{"name": "Mine"}, {"name": "LMS"}], lambda row: row["name"]) == [{"name": "LMS"}]
