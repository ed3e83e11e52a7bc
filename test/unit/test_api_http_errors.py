"""Errors as answers, on a small application whose routes raise them."""

import json
import logging

import pytest
from fastapi import FastAPI
from fastapi.exceptions import HTTPException
from fastapi.testclient import TestClient
from pydantic import BaseModel

from modules import errors
from modules.api import http_errors


class Body(BaseModel):
    width: int
    name: str = ""


@pytest.fixture
def client():
    """A client of an application with one route that takes a body."""
    app = FastAPI()
    http_errors.install(app)

    @app.post("/body")
    def take(body: Body) -> Body:
        return body

    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def answer_to(client):
    """What a request gets whose route raises an error."""

    def answer(error):
        def route():
            raise error

        client.app.add_api_route("/raise", route)
        return client.get("/raise")

    return answer


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.WebuiError, 500),
        (errors.InvalidInput, 422),
        (errors.NotFound, 404),
        (errors.NotSupported, 501),
        (errors.ModelLoadError, 422),
        (errors.OutOfMemory, 507),
        (errors.Busy, 409),
    ],
)
def test_domain_errors_carry_their_status(answer_to, kind, status):
    answer = answer_to(kind("what is wrong"))
    assert answer.status_code == status
    assert answer.json() == {
        "error": kind.__name__,
        "detail": "what is wrong",
        "body": "",
        "errors": "what is wrong",
    }


def test_field_is_named_where_there_is_one(answer_to):
    assert answer_to(errors.InvalidInput("too large", "width")).json()["field"] == "width"


def test_own_kinds_of_modules_are_domain_errors(answer_to):
    class Teapot(errors.WebuiError):
        http_status = 418

    answer = answer_to(Teapot("short and stout"))
    assert (answer.status_code, answer.json()["error"]) == (418, "Teapot")


@pytest.mark.parametrize(("kind", "is_logged"), [(errors.NotFound, False), (errors.WebuiError, True)])
def test_log_has_what_is_not_the_clients_fault(answer_to, caplog, kind, is_logged):
    with caplog.at_level(logging.ERROR, "modules.api.http_errors"):
        answer_to(kind("the reason"))
    assert ("GET /raise: the reason" in caplog.text) is is_logged


def test_error_of_a_route_keeps_its_headers(answer_to):
    answer = answer_to(HTTPException(429, "slowly", headers={"Retry-After": "7"}))
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.json() == {"error": "HTTPException", "detail": "slowly", "body": "", "errors": ""}


@pytest.mark.parametrize("detail", [{"a": 1}, ["x"], None])
def test_detail_of_a_route_may_be_anything(answer_to, detail):
    expected = "Bad Request" if detail is None else detail
    assert answer_to(HTTPException(400, detail)).json()["detail"] == expected


def test_memory_that_is_too_small(answer_to):
    answer = answer_to(MemoryError())
    assert answer.status_code == 507
    assert answer.json()["error"] == "OutOfMemory"
    assert "smaller" in answer.json()["detail"]


def test_error_nobody_foresaw_names_its_kind(answer_to):
    answer = answer_to(KeyError("gone"))
    assert answer.status_code == 500
    assert answer.json() == {"error": "KeyError", "detail": "", "body": "", "errors": "'gone'"}


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, [["body", "width"]]),
        ({"width": "wide"}, [["body", "width"]]),
        ({"width": "wide", "name": 5}, [["body", "width"], ["body", "name"]]),
        ([], [["body"]]),
    ],
)
def test_schema_error_names_all_places(client, body, places):
    answer = client.post("/body", json=body)
    assert answer.status_code == 422
    assert [row["loc"] for row in answer.json()["detail"]] == places
    assert all(row["msg"] and row["type"] for row in answer.json()["detail"])


def test_schema_error_does_not_repeat_what_was_sent(client):
    secret = "iVBORw0KGgo" * 1000
    answer = client.post("/body", json={"width": secret})
    assert secret[:20] not in answer.text
    assert len(answer.content) < 1000


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_schema_error_about_a_number_that_json_lacks_is_json(client, value):
    content = f'{{"width": [{value}]}}'
    answer = client.post("/body", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert json.loads(answer.text)["detail"]


def test_request_that_fits_is_answered(client):
    assert client.post("/body", json={"width": 5}).json() == {"width": 5, "name": ""}


def test_path_that_is_unknown_keeps_the_frameworks_answer(client):
    answer = client.get("/nothing")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
