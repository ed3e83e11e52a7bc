"""What there is to choose from."""

from types import SimpleNamespace

import pytest

from modules import extensions, scripts, sd_samplers, sd_schedulers, shared
from modules.styles import PromptStyle


def test_samplers_have_aliases_and_options_as_text(client):
    rows = {row["name"]: row for row in client.get("/sdapi/v1/samplers").json()}
    assert list(rows) == [sampler.name for sampler in sd_samplers.all_samplers]
    assert "k_euler_a" in rows["Euler a"]["aliases"]
    assert all(isinstance(value, str) for row in rows.values() for value in row["options"].values())


def test_schedules_are_those_of_the_registry(client):
    rows = client.get("/sdapi/v1/schedulers").json()
    assert [row["label"] for row in rows] == [scheduler.label for scheduler in sd_schedulers.schedulers]
    assert next(row for row in rows if row["name"] == "karras")["default_rho"] == 7.0


def test_styles_are_those_of_the_files(client, monkeypatch):
    styles = {"ink": PromptStyle("ink", "drawn in ink", "photo")}
    monkeypatch.setattr(shared, "prompt_styles", SimpleNamespace(styles=styles))
    assert client.get("/sdapi/v1/prompt-styles").json() == [
        {"name": "ink", "prompt": "drawn in ink", "negative_prompt": "photo"}
    ]


def test_scripts_are_listed_for_each_tab_and_described(client):
    titles = client.get("/sdapi/v1/scripts").json()
    assert "x/y/z plot" in titles["txt2img"] and "sd upscale" in titles["img2img"]
    rows = client.get("/sdapi/v1/script-info").json()
    matrix = next(row for row in rows if row["name"] == "prompt matrix" and not row["is_img2img"])
    assert matrix["is_alwayson"] is False and len(matrix["args"]) == len(
        next(s for s in scripts.scripts_txt2img.selectable_scripts if s.name == "prompt matrix").api_info["args"]
    )


@pytest.mark.parametrize(
    ("remote", "branch", "is_listed"), [("u", "main", True), (None, "main", False), ("u", None, False)]
)
def test_only_extensions_from_git_are_listed(client, monkeypatch, remote, branch, is_listed):
    facts = {"commit_hash": "abc", "version": "abc", "commit_date": 17, "enabled": True}
    extension = SimpleNamespace(name="one", remote=remote, branch=branch, read_info_from_repo=lambda: None, **facts)
    monkeypatch.setattr(extensions, "list_extensions", lambda: None)
    monkeypatch.setattr(extensions, "extensions", [extension])
    rows = client.get("/sdapi/v1/extensions").json()
    assert [(row["name"], row["commit_date"]) for row in rows] == ([("one", "17")] if is_listed else [])
