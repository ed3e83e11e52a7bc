import json

import pytest

from modules import shared


def test_ping_is_light(client):
    answer = client.get("/internal/ping")
    assert answer.status_code == 200 and answer.json() == {}


def test_progress_of_an_unknown_task(client):
    answer = client.post("/internal/progress", json={"id_task": "task(none)"}).json()
    assert (answer["active"], answer["queued"], answer["completed"]) == (False, False, False)
    assert answer["live_preview"] is None


def test_pending_tasks(client):
    assert client.get("/internal/pending-tasks").json() == {"size": 0, "tasks": []}


def test_hints_for_quick_settings(client):
    hints = {hint["name"]: hint["label"] for hint in client.get("/internal/quicksettings-hint").json()}
    assert hints["sd_model_checkpoint"] == shared.opts.data_labels["sd_model_checkpoint"].label


def test_profile_of_the_start(client):
    assert isinstance(client.get("/internal/profile-startup").json(), dict)


@pytest.mark.parametrize(
    ("path", "disposition"),
    [
        ("/internal/sysinfo", "inline"),
        ("/internal/sysinfo?attachment=true", "attachment"),
        ("/internal/sysinfo-download", "attachment"),
    ],
)
def test_system_information(client, path, disposition):
    answer = client.get(path)
    assert answer.headers["content-disposition"].startswith(f'{disposition}; filename="sysinfo-')
    assert "Platform" in json.loads(answer.text)


def test_page_is_served_after_the_routes(client):
    answer = client.get("/")
    assert answer.status_code == 200 and "script.js" in answer.text
