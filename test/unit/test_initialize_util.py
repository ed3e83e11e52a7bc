import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from modules import config_states, errors, initialize_util, paths, shared
from modules.paths_internal import script_path


@pytest.fixture
def flags(monkeypatch):
    """Sets flags for one test."""

    def set_flags(**values):
        for name, value in values.items():
            monkeypatch.setattr(initialize_util.cmd_opts, name, value)

    return set_flags


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"listen": True}, "0.0.0.0"),
        ({"server_name": "box"}, "box"),
        ({"server_name": "box", "listen": True}, "box"),
    ],
)
def test_server_name(flags, values, expected):
    flags(**values)
    assert initialize_util.gradio_server_name() == expected


def test_tls_needs_both_files(flags, tmp_path):
    initialize_util.validate_tls_options()
    key = tmp_path / "key.pem"
    key.write_text("")
    flags(tls_keyfile=str(key), tls_certfile=str(key))
    initialize_util.validate_tls_options()

    flags(tls_certfile=None)
    with pytest.raises(errors.InvalidInput, match="--tls-certfile is missing"):
        initialize_util.validate_tls_options()
    flags(tls_certfile="no such file")
    with pytest.raises(errors.InvalidInput, match="--tls-certfile: there is no file no such file") as e:
        initialize_util.validate_tls_options()
    assert e.value.field == "tls_certfile"


def test_logins_of_flag_and_file_are_joined(flags, tmp_path):
    assert initialize_util.get_gradio_auth_creds() == []
    file = tmp_path / "logins"
    file.write_text("c:3, d:4\n\ne:5\n")
    flags(gradio_auth="a:1:1, b:2", gradio_auth_path=str(file))
    assert initialize_util.get_gradio_auth_creds() == [("a", "1:1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]


def test_login_without_colon_is_refused_without_telling_it(flags):
    flags(gradio_auth="secret")
    with pytest.raises(errors.InvalidInput, match="user:password") as e:
        initialize_util.get_gradio_auth_creds()
    assert "secret" not in str(e.value)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_a_busy_program_at_once(tmp_path):
    code = (
        f"import sys; sys.argv = ['x', '--data-dir', {str(tmp_path)!r}]\n"
        "from modules import initialize_util\n"
        "initialize_util.configure_sigint_handler()\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    while True: pass\n"
        "finally: print('cleaned up')"
    )
    environment = {key: value for key, value in os.environ.items() if key != "COVERAGE_RUN"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=script_path, env=environment, stdout=subprocess.PIPE, encoding="utf8"
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "Interrupted.\n")


def test_handler_of_ctrl_c_is_left_alone_under_coverage(monkeypatch):
    monkeypatch.setenv("COVERAGE_RUN", "1")
    before = signal.getsignal(signal.SIGINT)
    initialize_util.configure_sigint_handler()
    assert signal.getsignal(signal.SIGINT) is before


def test_stacks_of_all_threads_are_logged(caplog):
    caplog.set_level("DEBUG")
    initialize_util.dumpstacks()
    assert "thread MainThread" in caplog.text and "test_stacks_of_all_threads_are_logged" in caplog.text


def test_middleware_compresses_and_answers_other_origins(flags):
    flags(cors_allow_origins="http://a.example.org,http://b.example.org")
    app = FastAPI()
    app.add_api_route("/long", lambda: "x" * 5000)
    initialize_util.setup_middleware(app)
    answer = TestClient(app).get("/long", headers={"Origin": "http://b.example.org"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["access-control-allow-origin"] == "http://b.example.org"


@pytest.fixture
def restored(monkeypatch, tmp_path):
    """The records that restore_config_state_file has extensions restored to."""
    records = []
    monkeypatch.setattr(config_states, "config_states_dir", str(tmp_path / "config_states"))
    monkeypatch.setattr(config_states, "restore_extension_config", records.append)
    monkeypatch.setattr(shared, "config_filename", str(tmp_path / "config.json"))
    yield records
    shared.opts.restore_config_state_file = ""


def test_state_of_extensions_is_restored_once(restored, tmp_path):
    initialize_util.restore_config_state_file()
    assert restored == []

    path = tmp_path / "config_states" / "mine.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"name": "mine", "created_at": time.time(), "extensions": {}}), encoding="utf8")
    shared.opts.restore_config_state_file = str(path)
    initialize_util.restore_config_state_file()
    initialize_util.restore_config_state_file()
    assert [record["name"] for record in restored] == ["mine"]
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf8"))["restore_config_state_file"] == ""


def test_missing_state_of_extensions_is_reported(restored, tmp_path, caplog):
    shared.opts.restore_config_state_file = str(tmp_path / "gone.json")
    initialize_util.restore_config_state_file()
    assert restored == [] and "they stay as they are" in caplog.text


def test_files_that_a_killed_program_was_writing_go_at_the_start(tmp_path, monkeypatch):
    data, results = tmp_path / "data", tmp_path / "results"
    left = [data / "config.json.0123abcd.tmp", results / "2024-01-01" / f"tmp-{'0' * 32}.tmp"]
    kept = [data / "config.json", results / "2024-01-01" / "00000-1.png"]
    for file in (*left, *kept):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{")
        os.utime(file, (0, 0))
    monkeypatch.setattr(paths, "data_path", str(data))
    monkeypatch.setattr(paths, "models_path", "")
    monkeypatch.setattr(initialize_util.cmd_opts, "ckpt_dir", None)
    for name in [name for name in shared.opts.data_labels if name.startswith("outdir_")]:
        monkeypatch.setitem(shared.opts.data, name, str(results) if name == "outdir_txt2img_samples" else "")
    initialize_util.remove_unfinished_files()
    for thread in threading.enumerate():
        if thread.name == "remove unfinished files":
            thread.join()
    assert [file for file in (*left, *kept) if file.exists()] == kept


def test_extensions_find_a_file_of_the_page_s_defaults_before_there_is_one(flags, tmp_path):
    path = tmp_path / "ui-config.json"
    flags(ui_config_file=str(path))
    initialize_util.make_ui_config()
    assert json.loads(path.read_text(encoding="utf8")) == {}
    path.write_text('{"a": 1}', encoding="utf8")
    initialize_util.make_ui_config()
    assert json.loads(path.read_text(encoding="utf8")) == {"a": 1}
