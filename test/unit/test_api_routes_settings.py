"""Settings and flags over the API."""

import json
from pathlib import Path

import pytest

from modules import call_queue, runtime_utils, shared
from modules.api import routes_settings


@pytest.fixture(autouse=True)
def restored():
    """The user's settings as they were, in the file too; flags that a test has changed are back by then."""
    before = dict(shared.opts.data)
    yield
    shared.opts.data.clear()
    shared.opts.data.update(before)
    shared.opts.save(shared.config_filename)


def change(client, **settings):
    return client.post("/sdapi/v1/options", json=settings)


def test_a_change_is_seen_and_saved(client):
    assert change(client, jpeg_quality=71).json() is None
    assert client.get("/sdapi/v1/options").json()["jpeg_quality"] == 71
    assert json.loads(Path(shared.config_filename).read_text("utf8"))["jpeg_quality"] == 71


def test_what_a_job_lays_over_does_not_show(client):
    with shared.opts.overlay({"jpeg_quality": 3}):
        assert client.get("/sdapi/v1/options").json()["jpeg_quality"] != 3


def test_a_whole_answer_can_be_sent_back(client):
    settings = client.get("/sdapi/v1/options").json()
    assert change(client, **settings).status_code == 200
    assert client.get("/sdapi/v1/options").json() == settings


@pytest.mark.parametrize(
    ("settings", "status", "field"),
    [
        ({"no_such_setting": 1}, 422, "no_such_setting"),
        ({"sd_model_checkpoint": "no such model"}, 404, "sd_model_checkpoint"),
    ],
)
def test_unknown_names_are_refused_by_name(client, settings, status, field):
    response = change(client, **settings)
    assert (response.status_code, response.json()["field"]) == (status, field)


def test_frozen_settings_say_so(client, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "freeze_settings", True)
    response = change(client, jpeg_quality=72)
    assert response.status_code == 422 and "frozen" in response.json()["detail"]


def test_settings_are_applied_in_order_though_some_wait_for_the_device(client, monkeypatch):
    order = []
    for key, waits in (("jpeg_quality", False), ("sd_vae", True), ("samples_format", False)):
        note = lambda key=key: order.append((key, call_queue.queue_lock.is_own()))  # noqa: E731
        monkeypatch.setattr(
            shared.opts.data_labels[key], "onchange", call_queue.wrap_queued_call(note) if waits else note
        )
    assert change(client, jpeg_quality=73, sd_vae="None", samples_format="webp").status_code == 200
    assert order == [("jpeg_quality", False), ("sd_vae", True), ("samples_format", False)]


def test_only_a_change_waits(monkeypatch):
    info = shared.opts.data_labels["sd_vae"]
    monkeypatch.setattr(info, "onchange", call_queue.wrap_queued_call(lambda: None))
    shared.opts.data["sd_vae"] = "None"
    assert routes_settings.waits_for_device("sd_vae", "Automatic")
    assert not routes_settings.waits_for_device("sd_vae", "None")
    assert not routes_settings.waits_for_device("jpeg_quality", 1)
    assert not routes_settings.waits_for_device("no_such_setting", 1)


def test_a_setting_whose_change_fails_keeps_its_value(client, monkeypatch):
    def fails():
        raise RuntimeError("no such file")

    monkeypatch.setattr(shared.opts.data_labels["sd_vae"], "onchange", call_queue.wrap_queued_call(fails))
    before = shared.opts.sd_vae
    response = change(client, jpeg_quality=74, sd_vae="None")
    assert (response.status_code, response.json()["field"]) == (422, "sd_vae")
    assert "no such file" in response.json()["detail"]
    assert shared.opts.sd_vae == before
    stored = json.loads(Path(shared.config_filename).read_text("utf8"))
    assert stored == shared.opts.data and stored["jpeg_quality"] == 74


def test_where_nothing_can_be_saved_nothing_is_changed(client, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared.opts, "save", full)
    before = dict(shared.opts.data)
    response = change(client, jpeg_quality=75)
    assert response.status_code == 507
    assert "No space left" in response.json()["detail"] and "make room" in response.json()["detail"]
    assert shared.opts.data == before


def test_a_request_with_one_bad_value_changes_nothing(client):
    before = dict(shared.opts.data)
    response = change(client, jpeg_quality=76, quicksettings_list=3)
    assert (response.status_code, response.json()["field"]) == (422, "quicksettings_list")
    assert shared.opts.data == before


@pytest.mark.parametrize("name", [3, ["a"], {}])
def test_checkpoints_of_another_kind_are_refused(client, name):
    assert change(client, sd_model_checkpoint=name).status_code in (404, 422)


def test_an_unknown_checkpoint_names_the_nearest(client):
    assert "'demo-emoji'" in change(client, sd_model_checkpoint="demo-emoj").json()["detail"]


def test_null_leaves_a_setting_as_it_is(client):
    before = shared.opts.jpeg_quality
    assert change(client, jpeg_quality=None, sd_vae=None).status_code == 200
    assert shared.opts.jpeg_quality == before


def test_flags_are_told_but_for_those_the_program_derives(client):
    flags = client.get("/sdapi/v1/cmd-flags").json()
    assert flags["api"] is True and flags["precision"] == "full"
    assert not set(routes_settings.DERIVED_FLAGS) & flags.keys()


def test_secrets_among_the_flags_are_hidden(client, monkeypatch):
    for name in ("gradio_auth", "api_auth", "ngrok", "tls_keyfile"):
        monkeypatch.setattr(shared.cmd_opts, name, "user:password")
    monkeypatch.setattr(shared.cmd_opts, "ngrok_options", {"basic_auth": "user:password"})
    for name, value in {"my_hub_token": "user:password", "civitai_api_key": ["user:password"]}.items():
        monkeypatch.setattr(shared.cmd_opts, name, value, raising=False)
    monkeypatch.setattr(shared.cmd_opts, "port", 7861)
    flags = routes_settings.get_cmd_flags()
    assert "password" not in json.dumps(flags, default=str)
    assert flags["civitai_api_key"] == "<hidden>" and flags["port"] == "7861"
    answer = client.get("/sdapi/v1/cmd-flags")
    assert "password" not in answer.text
    assert answer.json()["gradio_auth"] == "<hidden>"


def test_the_temporary_folder_is_not_set_by_requests(client, tmp_path):
    before = shared.opts.temp_dir
    assert change(client, temp_dir=str(tmp_path)).status_code == 200
    assert shared.opts.temp_dir == before
    assert "temp_dir" in runtime_utils.read_overrides({"temp_dir": str(tmp_path)})[1]


def test_a_request_does_not_widen_what_is_sent(client, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    for setting in ("outdir_samples", "outdir_save", "temp_dir"):
        assert change(client, **{setting: str(tmp_path)}).status_code == 200
        assert client.get(f"/file={tmp_path}/secret.txt").status_code in (403, 404)
