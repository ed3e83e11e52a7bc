import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import webui
from modules import call_queue, errors, ngrok, server, shared
from modules.initialize_util import cmd_opts


@pytest.fixture
def flags(monkeypatch):
    """Sets flags for one test."""

    def set_flags(**values):
        for name, value in values.items():
            monkeypatch.setattr(cmd_opts, name, value)

    return set_flags


@pytest.fixture
def listener():
    with server.open_socket("127.0.0.1", 28260, 50) as opened:
        yield opened


def test_routes_added_after_the_page_are_not_swallowed_by_it():
    page, app = FastAPI(), FastAPI()
    page.add_api_route("/{path:path}", lambda path: f"page {path}")
    app.mount("/files", page)
    app.mount("", page)
    app.add_api_route("/extension", lambda: "extension")
    webui.move_mounts_to_end(app)
    client = TestClient(app)
    assert client.get("/extension").json() == "extension"
    assert client.get("/other").json() == "page other"


def test_names_that_older_extensions_import_from_here():
    assert webui.wrap_gradio_gpu_call is call_queue.wrap_gradio_gpu_call
    assert not hasattr(webui, "was_never_there")


@pytest.mark.parametrize(("subpath", "expected"), [(None, None), ("sd", "/sd"), ("/sd/", "/sd")])
def test_root_path(flags, subpath, expected):
    flags(subpath=subpath)
    assert webui.root_path() == expected


@pytest.mark.parametrize(
    ("values", "setting", "restarting", "expected"),
    [
        ({}, "Local", None, True),
        ({}, "Local", "1", False),
        ({}, "Disable", None, False),
        ({"webui_is_non_local": True}, "Local", None, False),
        ({"webui_is_non_local": True}, "Remote", None, True),
        ({"autolaunch": True}, "Disable", None, True),
    ],
)
def test_browser_is_opened_as_flags_and_settings_say(flags, monkeypatch, values, setting, restarting, expected):
    monkeypatch.delenv("SD_WEBUI_RESTARTING", raising=False)
    if restarting:
        monkeypatch.setenv("SD_WEBUI_RESTARTING", restarting)
    flags(**values)
    with shared.opts.overlay({"auto_launch_browser": setting}):
        assert bool(webui.wants_browser()) is expected


def test_page_takes_the_first_free_port_and_a_given_one_must_be_free(flags, monkeypatch, listener):
    started = []
    monkeypatch.setattr(server.Server, "start", lambda self: started.append(self))
    taken = listener.getsockname()[1]
    monkeypatch.setattr(webui, "PAGE_PORT", taken)
    monkeypatch.setattr(webui, "API_PORT", taken)

    running = webui.start_server()
    assert started == [running] and running.port > taken
    running.listener.close()

    flags(port=taken)
    with pytest.raises(errors.WebuiError, match="taken"):
        webui.start_server()
    flags(port=None, nowebui=True)
    with pytest.raises(errors.WebuiError, match="taken"):
        webui.start_server()


def test_tunnel_that_fails_leaves_the_local_address(flags, monkeypatch, listener, capsys, caplog):
    networking = pytest.importorskip("gradio.networking")

    def refuse(*args):
        raise RuntimeError("Could not get share link from Gradio API Server.") from OSError("Name not known")

    monkeypatch.setattr(networking, "setup_tunnel", refuse)
    monkeypatch.setattr(ngrok, "connect", lambda token, port, options: f"https://{token}.example.org:{port}")
    flags(share=True, ngrok="me", nowebui=True)
    running = server.Server(listener)
    webui.announce(running)
    assert [record.getMessage() for record in caplog.records] == [
        "--share gives no public address: Could not get share link from Gradio API Server: Name not known. "
        "The local address works."
    ]
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:] == [
        f"ngrok tunnel: https://me.example.org:{running.port}",
        f"Running on local URL:  http://127.0.0.1:{running.port}",
    ]
    assert printed[0].startswith("Startup time: ")


def test_public_address_is_printed(flags, monkeypatch, listener, capsys):
    networking = pytest.importorskip("gradio.networking")
    monkeypatch.setattr(networking, "setup_tunnel", lambda *args: "https://public.example.org")
    flags(share=True)
    webui.open_tunnels(server.Server(listener))
    assert capsys.readouterr().out == "Running on public URL: https://public.example.org\n"
