"""A job's settings are its own: nobody else sees them, and what changes meanwhile does not change its files."""

import threading

import pytest

from modules import processing, scripts, shared

REQUEST = {"prompt": "red apple", "width": 64, "height": 64, "steps": 2, "seed": 1, "save_images": True}


@pytest.fixture
def in_process_hook(client, monkeypatch):
    """Runs a function inside the `process` hook of the next jobs."""

    def install(function):
        monkeypatch.setattr(scripts.ScriptRunner, "process", lambda self, p: function(p))

    return install


def test_options_show_the_users_settings_while_a_job_overrides_them(client, in_process_hook):
    seen = {}

    def ask_from_another_thread(p):
        seen["job"] = shared.opts.CLIP_stop_at_last_layers
        thread = threading.Thread(target=lambda: seen.update(other=client.get("/sdapi/v1/options").json()))
        thread.start()
        thread.join()

    in_process_hook(ask_from_another_thread)
    client.post("/sdapi/v1/txt2img", json=REQUEST | {"override_settings": {"CLIP_stop_at_last_layers": 2}})
    assert seen["job"] == 2
    assert seen["other"]["CLIP_stop_at_last_layers"] == 1


def test_options_posted_during_a_job_hold_afterwards(client, in_process_hook):
    def post_from_another_thread(p):
        thread = threading.Thread(target=lambda: client.post("/sdapi/v1/options", json={"jpeg_quality": 55}))
        thread.start()
        thread.join()

    in_process_hook(post_from_another_thread)
    client.post("/sdapi/v1/txt2img", json=REQUEST | {"override_settings": {"jpeg_quality": 33}})
    try:
        assert client.get("/sdapi/v1/options").json()["jpeg_quality"] == 55
    finally:
        client.post("/sdapi/v1/options", json={"jpeg_quality": 80})


def test_a_setting_changed_by_a_process_hook_does_not_change_the_files(client, data_dir, in_process_hook):
    before = shared.opts.samples_format

    def change_format(p):
        shared.opts.set("samples_format", "webp")

    in_process_hook(change_format)
    outputs = data_dir / "outputs"
    known = set(outputs.rglob("*.*"))
    try:
        client.post("/sdapi/v1/txt2img", json=REQUEST)
    finally:
        shared.opts.set("samples_format", before)
    assert {path.suffix for path in set(outputs.rglob("*.*")) - known} == {".png"}


def test_before_process_and_do_not_save_samples_do_change_them(client, data_dir, in_process_hook, monkeypatch):
    monkeypatch.setattr(
        scripts.ScriptRunner, "before_process", lambda self, p: p.override_settings.update(samples_format="webp")
    )
    outputs = data_dir / "outputs"
    known = set(outputs.rglob("*.*"))
    client.post("/sdapi/v1/txt2img", json=REQUEST)
    new = set(outputs.rglob("*.*")) - known
    assert {path.suffix for path in new} == {".webp"}

    in_process_hook(lambda p: setattr(p, "do_not_save_samples", True))
    known = set(outputs.rglob("*.*"))
    client.post("/sdapi/v1/txt2img", json=REQUEST)
    assert set(outputs.rglob("*.*")) == known


def test_restore_afterwards_false_keeps_the_value(client):
    body = REQUEST | {"override_settings": {"n_rows": 3}, "override_settings_restore_afterwards": False}
    client.post("/sdapi/v1/txt2img", json=body)
    try:
        assert shared.opts.n_rows == 3
    finally:
        shared.opts.set("n_rows", -1)


def test_new_jobs_have_neither_snapshot_nor_context():
    p = processing.StableDiffusionProcessingTxt2Img(prompt="red apple")
    assert p.opts_snapshot is None
    assert p.runtime_context is None
    with pytest.raises(TypeError):
        processing.StableDiffusionProcessingTxt2Img(runtime_context=None)
