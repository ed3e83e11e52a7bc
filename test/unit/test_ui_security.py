import base64
from pathlib import Path

import gradio as gr
import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.testclient import TestClient
from starlette.datastructures import Headers
from starlette.testclient import WebSocketDenialResponse

from modules import ui_security


@pytest.fixture
def flags(monkeypatch):
    """Sets flags for one test."""

    def set_flags(**values):
        for name, value in values.items():
            monkeypatch.setattr(ui_security.cmd_opts, name, value)

    set_flags(cors_allow_origins=None, cors_allow_origins_regex=None, gradio_auth=None, gradio_auth_path=None)
    return set_flags


def make_app(auth=None, root_path=""):
    """An application with the guard, a page, and routes such as extensions add."""
    app = FastAPI()
    app.root_path = root_path
    ui_security.install(app)
    app.add_middleware(CORSMiddleware, allow_origins=["https://friend.example"], allow_methods=["*"])

    async def length(request: Request) -> int:
        return len(await request.body())

    app.add_api_route("/extension/files", lambda: "secret")
    app.add_api_route("/extension/length", length, methods=["POST"])
    app.add_api_route("/sdapi/v1/thing", lambda: "thing", methods=["GET", "POST"])
    app.add_api_route("/internal/ping", lambda: {})
    with gr.Blocks() as demo:
        text = gr.Textbox()
        text.submit(lambda x: x, text, text, api_name="echo")
    return gr.mount_gradio_app(app, demo, path="/", auth=auth, root_path=root_path or None)


@pytest.fixture
def open_client(flags):
    return TestClient(make_app())


@pytest.fixture
def closed_client(flags):
    return TestClient(make_app(auth=[("ann", "p:w")]))


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "is_foreign"),
    [
        ({}, False),
        ({"host": "box:7860"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://public.example", "host": "127.0.0.1:7860"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://localhost:3000", "host": "localhost:7860"}, True),
        ({"origin": "http://box:7860", "host": "box:7860"}, False),
        ({"origin": "http://box:3000", "host": "box:7860"}, True),
        ({"origin": "http://evil.example", "host": "box:7860"}, True),
        ({"origin": "null", "host": "box:7860"}, True),
        ({"origin": "http://lan", "host": "127.0.0.1:7860", "x-forwarded-host": "lan, other"}, False),
    ],
)
def test_requests_of_other_sites_are_told_apart(flags, headers, is_foreign):
    assert ui_security.is_foreign("POST", Headers(headers)) == is_foreign
    assert not ui_security.is_foreign("GET", Headers(headers))


@pytest.mark.parametrize(
    ("values", "is_allowed"),
    [
        ({}, False),
        ({"cors_allow_origins": "https://a.example,https://friend.example"}, True),
        ({"cors_allow_origins": "https://friend"}, False),
        ({"cors_allow_origins": "*"}, True),
        ({"cors_allow_origins_regex": r"https://\w+\.example"}, True),
        ({"cors_allow_origins_regex": r"https://\w+"}, False),
    ],
)
def test_flags_let_origins_in(flags, values, is_allowed):
    flags(**values)
    headers = Headers({"origin": "https://friend.example", "sec-fetch-site": "cross-site"})
    assert ui_security.is_foreign("POST", headers) != is_allowed


def test_other_sites_can_read_nothing_and_post_nothing(open_client):
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    refused = open_client.post("/sdapi/v1/thing", headers=foreign)
    assert refused.status_code == 403 and "--cors-allow-origins=https://evil.example" in refused.json()["detail"]
    assert "access-control-allow-origin" not in open_client.get("/sdapi/v1/thing", headers=foreign).headers
    assert open_client.post("/gradio_api/run/echo", json={"data": ["x"]}, headers=foreign).status_code == 403
    assert open_client.post("/gradio_api/run/echo", json={"data": ["x"]}).json()["data"] == ["x"]


def test_without_a_login_everything_is_open(open_client):
    for path in ("/", "/config", "/extension/files", "/sdapi/v1/thing", "/internal/ping"):
        assert open_client.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/config/",
        "/gradio_api/info",
        "/gradio_api/queue/status",
        "/gradio_api/heartbeat/x",
        "/extension/files",
        "/Extension/files",
        "/docs",
        "/openapi.json",
        "/internal/ping/",
        "/assets/../config",
        "/sdapi",
        "/nowhere",
    ],
)
def test_login_covers_every_path(closed_client, path):
    answer = closed_client.get(path)
    if path == "/assets/../config":  # resolved by the client
        assert answer.url.path == "/config"
    assert answer.status_code == 401, path


@pytest.mark.parametrize("path", ["/", "/theme.css", "/internal/ping", "/sdapi/v1/thing", "/gradio_api/app_id"])
def test_form_of_the_login_and_the_api_stay_reachable(closed_client, path):
    assert closed_client.get(path).status_code == 200


def test_login_and_logout(closed_client):
    assert closed_client.post("/login", data={"username": "ann", "password": "wrong"}).status_code == 400
    assert closed_client.get("/extension/files").status_code == 401
    assert closed_client.post("/login", data={"username": "ann", "password": "p:w"}).status_code == 200
    assert closed_client.get("/extension/files").json() == "secret"
    assert closed_client.get("/config").status_code == 200
    closed_client.get("/logout")
    assert closed_client.get("/extension/files").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (basic("ann", "p:w"), 200),
        (basic("ann", "p"), 401),
        (basic("ann", ""), 401),
        (basic("bob", ""), 401),
        (basic("bob", "p:w"), 401),
        ({"Authorization": "Basic !!"}, 401),
        ({"Authorization": "Bearer x"}, 401),
        ({"Cookie": "access-token-unsecure-x=y"}, 401),
    ],
)
def test_programs_may_send_the_login_with_each_request(closed_client, headers, status):
    assert closed_client.get("/extension/files", headers=headers).status_code == status


def test_login_below_a_subpath(flags):
    client = TestClient(make_app(auth=[("ann", "p:w")], root_path="/sd"))
    for path in ("/sd/extension/files", "/extension/files"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=basic("ann", "p:w")).status_code == 200
    for path in ("/sd", "/sd/", "/sd/internal/ping", "/internal/ping"):
        assert client.get(path).status_code == 200


def test_preflights_need_no_login(closed_client):
    headers = {"Origin": "https://friend.example", "Access-Control-Request-Method": "POST"}
    assert closed_client.options("/extension/files", headers=headers).status_code == 200
    refused = closed_client.get("/extension/files", headers=headers)
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == "https://friend.example"


def test_websockets_are_guarded(closed_client):
    app = closed_client.app

    @app.websocket("/extension/socket")
    async def socket(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("secret")

    app.router.routes.insert(0, app.router.routes.pop())
    foreign = basic("ann", "p:w") | {"Origin": "https://evil.example"}
    for headers, status in (({}, 401), (foreign, 403)):
        with pytest.raises(WebSocketDenialResponse) as refused:
            closed_client.websocket_connect("/extension/socket", headers=headers).__enter__()
        assert refused.value.status_code == status
    with closed_client.websocket_connect("/extension/socket", headers=basic("ann", "p:w")) as connection:
        assert connection.receive_text() == "secret"


def test_bodies_have_a_limit(open_client, monkeypatch):
    monkeypatch.setattr(ui_security, "MAX_BODY_BYTES", 10)
    assert open_client.post("/extension/length", content=b"x" * 10).json() == 10
    assert open_client.post("/extension/length", content=b"x" * 11).status_code == 413
    assert open_client.post("/extension/length", content=iter([b"x" * 6, b"x" * 5])).status_code == 413
    assert open_client.post("/extension/length", content=b"", headers={"Content-Length": "-1"}).status_code == 413


def test_uploads_have_the_limit_of_the_setting(open_client, monkeypatch, settings):
    monkeypatch.setattr(ui_security, "UPLOAD_PATH", "/extension/length")
    settings(api_max_upload=10 / (1 << 20))
    assert open_client.post("/extension/length", content=b"x" * 10).json() == 10
    response = open_client.post("/extension/length", content=b"x" * 11)
    assert (response.status_code, response.json()["error"]) == (413, "HTTPException")
    assert open_client.post("/extension/length", content=iter([b"x" * 6, b"x" * 5])).status_code == 413


def test_open_api_behind_a_login_is_pointed_out(flags, caplog):
    flags(gradio_auth="a:b", api=True, api_auth=None)
    ui_security.install(FastAPI())
    assert "add --api-auth" in caplog.text
    caplog.clear()
    flags(api_auth="a:b")
    ui_security.install(FastAPI())
    assert not caplog.records


def test_only_uploaded_files_are_values_of_components(flags, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    app = FastAPI()
    ui_security.install(app)
    with gr.Blocks() as demo:
        file, text = gr.File(), gr.Textbox()
        file.upload(lambda path: Path(path).read_text(), file, text, api_name="read")
    app = gr.mount_gradio_app(app, demo, path="/")
    ui_security.check_files_of(demo)
    client = TestClient(app)

    def read(path):
        value = {"path": path, "meta": {"_type": "gradio.FileData"}}
        return client.post("/gradio_api/run/read", json={"data": [value]})

    assert "not uploaded" in read(str(secret)).text and 'secret"' not in read(str(secret)).text
    [uploaded] = client.post("/gradio_api/upload", files={"files": ("a.txt", b"mine")}).json()
    assert read(uploaded).json()["data"] == ["mine"]


class TestLoginsOutliveAReload:
    def logged_in(self, client):
        return client.get("/extension/files").status_code == 200

    def rebuilt(self, client, auth):
        """A client with the same cookies, of a page built anew for these users."""
        app = make_app(auth=auth)
        ui_security.keep_logins(client.app, app)
        return TestClient(app, cookies=client.cookies)

    @pytest.fixture
    def client(self, closed_client):
        assert closed_client.post("/login", data={"username": "ann", "password": "p:w"}).status_code == 200
        assert self.logged_in(closed_client)
        return closed_client

    def test_same_user(self, client):
        assert self.logged_in(self.rebuilt(client, [("bob", "x"), ("ann", "p:w")]))

    @pytest.mark.parametrize("auth", [[("bob", "x")], [("ann", "changed")]])
    def test_not_of_who_may_no_longer_log_in(self, client, auth):
        assert not self.logged_in(self.rebuilt(client, auth))

    def test_page_without_logins(self, client):
        assert self.logged_in(self.rebuilt(client, None))
