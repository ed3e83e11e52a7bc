"""The API object: login, CORS, request log, JSON without a content type, errors as answers, documentation."""

from __future__ import annotations

import json
import logging

import pytest
from fastapi import FastAPI
from fastapi.exceptions import HTTPException
from fastapi.testclient import TestClient

from modules import shared
from modules.api import api as rest_api
from modules.api import auth, lax, models
from modules.call_queue import queue_lock
from modules.errors import InvalidInput, NotFound
from modules.options import OptionInfo

FLAGS = {"api_auth": None, "api_log": False, "api_server_stop": False}
FLAGS |= {"cors_allow_origins": None, "cors_allow_origins_regex": None}


@pytest.fixture
def served(program, monkeypatch):
    """A client of a new application with the API, started with the given flags."""

    def start(routes=None, **flags):
        for name, value in (FLAGS | flags).items():
            monkeypatch.setattr(shared.cmd_opts, name, value)
        app = FastAPI()
        rest_api.api_middleware(app)
        rest_api.Api(app, queue_lock)
        for path, endpoint in (routes or {}).items():
            app.add_api_route(path, endpoint)
        return TestClient(app, raise_server_exceptions=False)

    return start


@pytest.mark.parametrize("pair", [("ann", "one"), ("bob", "two")])
def test_login(served, pair):
    client = served(api_auth="ann:one,bob:two")
    assert client.get("/sdapi/v1/samplers", auth=pair).status_code == 200


@pytest.mark.parametrize("pair", [("ann", "two"), ("eve", "one"), ("", "")])
def test_wrong_login(served, pair):
    response = served(api_auth="ann:one,bob:two").get("/sdapi/v1/samplers", auth=pair)
    assert response.status_code == 401
    assert response.json()["detail"] == "Incorrect username or password"


@pytest.mark.parametrize("header", ["Bearer x", "Basic \u00ff", "Basic !!!"])
def test_login_that_can_not_be_read(served, header):
    response = served(api_auth="ann:one").get("/sdapi/v1/samplers", headers={"Authorization": header.encode("latin1")})
    assert (response.status_code, response.json()["error"]) == (401, "HTTPException")


def test_every_route_of_the_api_asks_for_the_login(served):
    client = served(api_auth="ann:one", api_server_stop=True)
    paths = client.get("/openapi.json").json()["paths"]
    assert len([path for path in paths if path.startswith("/sdapi")]) > 30
    for path, methods in paths.items():
        for method in methods:
            response = client.request(method, path)
            assert (response.status_code, response.json()["error"]) == (401, "HTTPException"), path


def test_without_the_flag_nobody_asks(served):
    assert served().get("/sdapi/v1/samplers").status_code == 200


@pytest.mark.parametrize("text", ["ann", "ann:one:two", ""])
def test_login_flag_that_makes_no_pairs(text):
    with pytest.raises(InvalidInput, match="user:password"):
        auth.credentials_from(text)


@pytest.mark.parametrize(
    ("flags", "origin", "allowed"),
    [
        ({}, "https://a.example", False),
        ({"cors_allow_origins": "https://a.example,https://b.example"}, "https://b.example", True),
        ({"cors_allow_origins": "https://a.example"}, "https://c.example", False),
        ({"cors_allow_origins_regex": r"https://.*\.example"}, "https://x.example", True),
        ({"cors_allow_origins_regex": r"https://.*\.example"}, "https://x.org", False),
    ],
)
def test_cors(served, flags, origin, allowed):
    response = served(**flags).get("/sdapi/v1/samplers", headers={"Origin": origin})
    assert response.headers.get("access-control-allow-origin") == (origin if allowed else None)
    if allowed:
        assert response.headers["access-control-expose-headers"] == "X-Serena-Job", "a page of there can read it"


def test_log_has_a_line_per_request_of_the_api_only(served, caplog):
    client = served(api_log=True)
    with caplog.at_level(logging.INFO, "modules.api.api"):
        client.get("/sdapi/v1/samplers")
        client.get("/docs")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "modules.api.api"]
    assert line.startswith("API 200 http/1.1 GET /sdapi/v1/samplers testclient ")


def test_no_log_without_the_flag_and_a_time_on_every_answer(served, caplog):
    with caplog.at_level(logging.INFO, "modules.api.api"):
        response = served().get("/sdapi/v1/samplers")
    assert caplog.records == []
    assert float(response.headers["X-Process-Time"]) >= 0
    assert response.headers["content-encoding"] == "gzip"


def test_routes_that_end_the_server_come_with_their_flag(served):
    assert served().post("/sdapi/v1/server-stop").status_code == 404
    assert "/sdapi/v1/server-kill" in served(api_server_stop=True).get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("path", ["/sdapi/v1/png-info", "/sdapi/v1/options", "/sdapi/v1/interrogate"])
def test_body_needs_no_content_type(served, path):
    """422 and "should be a valid dictionary" is what a body that was not read as JSON gets."""
    response = served().post(path, content=json.dumps({"image": "nonsense"}).encode())
    assert "valid dictionary" not in response.text


def raises(error):
    def endpoint():
        raise error

    return endpoint


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (
            InvalidInput("bad", "width"),
            422,
            {"error": "InvalidInput", "detail": "bad", "errors": "bad", "field": "width"},
        ),
        (NotFound("none"), 404, {"error": "NotFound", "detail": "none", "errors": "none"}),
        (HTTPException(418, "tea"), 418, {"error": "HTTPException", "detail": "tea", "errors": ""}),
        (MemoryError(), 507, {"error": "OutOfMemory"}),
        (ZeroDivisionError("oh"), 500, {"error": "ZeroDivisionError", "detail": "", "errors": "oh"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_of_extensions_routes_too_have_one_shape(served, error, status, body):
    response = served(routes={"/mine": raises(error)}).get("/mine")
    assert response.status_code == status
    assert response.json() | body | {"body": ""} == response.json()


@pytest.mark.parametrize("content", [b'{"image": [NaN]}', b'{"image": [1, Infinity]}', b"{", b"[]", b""])
def test_schema_errors_are_json_and_repeat_no_values(served, content):
    response = served().post("/sdapi/v1/png-info", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert all(set(row) == {"loc", "msg", "type"} for row in response.json()["detail"])


def test_unknown_paths_keep_the_frameworks_answer(served):
    assert served().get("/sdapi/v1/nothing").json() == {"detail": "Not Found"}


@pytest.mark.parametrize(
    ("convert", "value", "expected"),
    [
        (lax.to_int, 6.7, 6),
        (lax.to_int, -6.7, -6),
        (lax.to_int, "6", "6"),
        (lax.to_str, 5, "5"),
        (lax.to_str, [1], [1]),
        (lax.to_dict, [], {}),
        (lax.to_dict, [["a", 1]], {"a": 1}),
        (lax.to_dict, [1], [1]),
    ],
)
def test_lax_types(convert, value, expected):
    assert convert(value) == expected


def test_settings_that_extensions_have_added_are_answered(served, monkeypatch):
    added = {"my_weight": OptionInfo(2, "Weight"), "_mine": OptionInfo("", "Name"), "my_set": OptionInfo({1}, "Set")}
    for key, info in added.items():
        monkeypatch.setitem(shared.opts.data_labels, key, info)
    monkeypatch.setitem(shared.opts.data, "my_set", None)
    client = served()
    answer = client.get("/sdapi/v1/options").json()
    assert {key: answer[key] for key in added} == {"my_weight": 2.0, "_mine": "", "my_set": None}

    fields = client.get("/openapi.json").json()["components"]["schemas"]["Options"]["properties"]
    assert fields["my_weight"]["anyOf"] == [{"type": "number"}, {"type": "null"}]
    assert "anyOf" not in fields["_mine"]


def test_settings_are_those_of_the_moment_the_api_was_made(served, monkeypatch):
    before = served()
    monkeypatch.setitem(shared.opts.data_labels, "my_weight", OptionInfo(2, "Weight"))
    assert "my_weight" not in before.get("/sdapi/v1/options").json()
    assert "my_weight" in served().get("/sdapi/v1/options").json()


def test_extension_can_run_a_request_in_its_own_thread(client):
    body = {"prompt": "red apple", "steps": 1, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}
    routes = rest_api.Api(FastAPI(), queue_lock)
    answered = client.post("/sdapi/v1/txt2img", json=body).json()
    made = routes.text2imgapi(models.StableDiffusionTxt2ImgProcessingAPI(**body))
    assert made.images == answered["images"] and json.loads(made.info)["seed"] == 1
    again = body | {"init_images": made.images, "denoising_strength": 0.5}
    answered = client.post("/sdapi/v1/img2img", json=again).json()
    assert routes.img2imgapi(models.StableDiffusionImg2ImgProcessingAPI(**again)).images == answered["images"]


def test_sampler_names_are_checked_for_extensions(program):
    assert rest_api.validate_sampler_name("Euler a") == "Euler a"
    with pytest.raises(NotFound, match="Sampler not found"):
        rest_api.validate_sampler_name("Euler z")
