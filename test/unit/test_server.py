import json
import socket
import threading
import urllib.request
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI

from modules import errors, server


def get(running, path):
    with urllib.request.urlopen(running.url + path, timeout=20) as answer:
        return json.load(answer)


def get_in_background(running, path):
    """Sends a request and returns (thread, list that the answer is put into)."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(get(running, path)))
    thread.start()
    return thread, answers


def app_that_says(word, log=None):
    @asynccontextmanager
    async def lifespan(app):
        (log if log is not None else []).append(f"{word} begins")
        yield
        (log if log is not None else []).append(f"{word} ends")

    app = FastAPI(lifespan=lifespan)
    app.add_api_route("/word", lambda: word)
    app.add_api_route("/internal/ping", lambda: word)
    return app


@pytest.fixture
def running():
    result = server.Server(server.open_socket("127.0.0.1", 27860, server.PORTS_TO_TRY))
    result.start()
    yield result
    result.stop()


def test_ping_is_answered_before_there_is_an_app(running):
    assert get(running, "/internal/ping") == {}


def test_early_request_waits_for_the_app(running):
    thread, answers = get_in_background(running, "/word")
    thread.join(timeout=0.2)
    assert answers == []
    running.attach(app_that_says("hello"))
    thread.join()
    assert answers == ["hello"]
    assert get(running, "/internal/ping") == "hello"


def test_requests_wait_while_the_app_is_exchanged(running):
    log = []
    running.attach(app_that_says("first", log))
    running.detach()
    assert get(running, "/internal/ping") == {}
    thread, answers = get_in_background(running, "/word")
    running.attach(app_that_says("second", log))
    thread.join()
    assert answers == ["second"]
    assert log == ["first begins", "first ends", "second begins"]


def test_stop_ends_the_lifespan():
    log = []
    running = server.Server(server.open_socket("127.0.0.1", 27860, server.PORTS_TO_TRY))
    running.start()
    running.attach(app_that_says("only", log))
    running.stop()
    assert log == ["only begins", "only ends"]


def test_app_that_fails_to_start_is_reported_to_who_attached_it(running):
    @asynccontextmanager
    async def lifespan(app):
        raise ValueError("no start")
        yield

    with pytest.raises(ValueError, match="no start"):
        running.attach(FastAPI(lifespan=lifespan))
    running.attach(app_that_says("better"))
    assert get(running, "/word") == "better"


def test_next_free_port_is_taken():
    with server.open_socket("127.0.0.1", 27960, 50) as first:
        port = first.getsockname()[1]
        with server.open_socket("127.0.0.1", port, 2) as second:
            assert second.getsockname()[1] == port + 1


def test_port_in_use_is_an_error_that_names_the_flag():
    with server.open_socket("127.0.0.1", 27960, 50) as first:
        port = first.getsockname()[1]
        with pytest.raises(errors.WebuiError, match=f"port {port} is taken or not allowed.*--port"):
            server.open_socket("127.0.0.1", port)


def test_no_free_port_is_an_error_that_names_the_range():
    with server.open_socket("127.0.0.1", 27960, 50) as first:
        port = first.getsockname()[1]
        with server.open_socket("127.0.0.1", port + 1):
            with pytest.raises(errors.WebuiError, match=f"ports {port} to {port + 1} are taken"):
                server.open_socket("127.0.0.1", port, 2)


def test_address_of_another_computer_is_an_error_that_names_the_flag():
    with pytest.raises(errors.WebuiError, match="Check --server-name"):
        server.open_socket("203.0.113.1", 27960)


@pytest.mark.parametrize(
    ("host", "certificate", "url"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:{port}"),
        ("0.0.0.0", None, "http://127.0.0.1:{port}"),
        ("127.0.0.1", "cert.pem", "https://127.0.0.1:{port}"),
        ("::1", None, "http://[::1]:{port}"),
    ],
)
def test_url_can_be_opened_on_this_computer(host, certificate, url):
    try:
        listener = server.open_socket(host, 28060, 50)
    except errors.WebuiError:
        pytest.skip("no IPv6 here")
    with listener:
        created = server.Server(listener, ssl_certfile=certificate)
        assert created.url == url.format(port=created.port)


def test_server_that_cannot_start_says_so(tmp_path):
    (tmp_path / "broken.pem").write_text("no certificate")
    with server.open_socket("127.0.0.1", 28160, 50) as listener:
        created = server.Server(
            listener, ssl_certfile=str(tmp_path / "broken.pem"), ssl_keyfile=str(tmp_path / "broken.pem")
        )
        with pytest.raises(errors.WebuiError, match="certificate of TLS cannot be used"):
            created.start()


def test_exchange_before_the_start_is_a_mistake():
    with pytest.raises(AssertionError):
        server.Gate().exchange(None)


def test_answers_do_not_wait_for_the_clients_ack():
    with (
        server.open_socket("127.0.0.1", 27960, 50) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
