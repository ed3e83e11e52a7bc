"""Ending and restarting the server over the API."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from modules import restart, shared
from modules.api import routes_server


@pytest.fixture
def client(program):
    app = FastAPI()
    app.include_router(routes_server.router)
    return TestClient(app)


def test_stop_asks_the_launcher_to_stop(client):
    assert client.post("/sdapi/v1/server-stop").text == "Stopping."
    assert shared.state.wait_for_server_command(timeout=1) == "stop"


@pytest.mark.parametrize("watched", [True, False])
def test_restart_needs_somebody_who_starts_the_program_again(client, monkeypatch, watched):
    ended = []
    monkeypatch.setattr(restart, "is_restartable", lambda: watched)
    monkeypatch.setattr(restart, "restart_program", lambda: ended.append("restart"))
    assert client.post("/sdapi/v1/server-restart").status_code == 501  # whoever is watched ends before it answers
    assert ended == (["restart"] if watched else [])


def test_kill_ends_the_program(client, monkeypatch):
    ended = []
    monkeypatch.setattr(restart, "stop_program", lambda: ended.append("stop"))
    client.post("/sdapi/v1/server-kill")
    assert ended == ["stop"]
