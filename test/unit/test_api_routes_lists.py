"""Routes that list what there is to choose from, in an application that has no others."""

from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from modules import extensions, sd_samplers, sd_schedulers, shared
from modules.api import http_errors, routes_lists
from modules.sd_samplers_common import SamplerData
from modules.styles import PromptStyle


@pytest.fixture
def client(program):
    app = FastAPI()
    http_errors.install(app)
    app.include_router(routes_lists.router)
    return TestClient(app, raise_server_exceptions=False)


def listed(client, name):
    answer = client.get(f"/sdapi/v1/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_samplers_in_their_order_with_options_as_text(client):
    found = listed(client, "samplers")
    assert [row["name"] for row in found] == [sampler.name for sampler in sd_samplers.all_samplers]
    assert all(isinstance(value, str) for row in found for value in row["options"].values())
    assert found[0]["aliases"]


def test_samplers_of_extensions_are_listed(client, monkeypatch):
    mine = SamplerData("Mine", None, ["mine"], {"uses_ensd": True, "steps": 5})
    monkeypatch.setattr(sd_samplers, "all_samplers", [*sd_samplers.all_samplers, mine])
    assert listed(client, "samplers")[-1] == {
        "name": "Mine",
        "aliases": ["mine"],
        "options": {"uses_ensd": "True", "steps": "5"},
    }


def test_schedules(client):
    found = {row["name"]: row for row in listed(client, "schedulers")}
    assert list(found) == [schedule.name for schedule in sd_schedulers.schedulers]
    assert found["karras"]["default_rho"] == 7.0
    assert found["automatic"]["label"] == "Automatic"


def test_styles(client, monkeypatch):
    styles = {"a": PromptStyle("a", "{prompt}, fine", None), "b": PromptStyle("b", "", "bad")}
    monkeypatch.setattr(shared.prompt_styles, "styles", styles)
    assert listed(client, "prompt-styles") == [
        {"name": "a", "prompt": "{prompt}, fine", "negative_prompt": None},
        {"name": "b", "prompt": "", "negative_prompt": "bad"},
    ]


def test_scripts_of_each_tab(client, app):
    found = listed(client, "scripts")
    assert {"x/y/z plot", "prompt matrix"} <= set(found["txt2img"]) & set(found["img2img"])
    assert "loopback" in found["img2img"]
    assert "loopback" not in found["txt2img"]


def test_arguments_of_scripts(client, app):
    found = {(row["name"], row["is_img2img"]): row for row in listed(client, "script-info")}
    matrix = found["prompt matrix", False]
    assert not matrix["is_alwayson"]
    assert [argument["label"] for argument in matrix["args"]][:2] == [
        "Put variable parts at start of prompt",
        "Use different seed for each picture",
    ]
    choices = next(argument for argument in matrix["args"] if argument["label"] == "Select prompt")
    assert choices["choices"] == ["positive", "negative"]
    margin = matrix["args"][-1]
    assert (margin["minimum"], margin["maximum"], margin["step"], margin["value"]) == (0, 500, 2, 0)


def test_only_extensions_with_a_remote(client, monkeypatch):
    facts = {"branch": "main", "commit_hash": "c0ffee", "version": "v1", "commit_date": 5, "enabled": False}
    read = []
    found = [
        SimpleNamespace(name=name, remote=remote, read_info_from_repo=lambda name=name: read.append(name), **facts)
        for name, remote in (("with", "https://example.org/with"), ("without", None))
    ]
    monkeypatch.setattr(extensions, "list_extensions", lambda: None)
    monkeypatch.setattr(extensions, "extensions", found)
    assert listed(client, "extensions") == [
        {"name": "with", "remote": "https://example.org/with", **facts, "commit_date": "5"}
    ]
    assert read == ["with", "without"]
