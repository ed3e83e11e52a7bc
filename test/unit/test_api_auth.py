"""The login of --api-auth, on a small application."""

import base64

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from modules import shared
from modules.api import auth
from modules.errors import InvalidInput


@pytest.fixture
def client(monkeypatch):
    """A client of an application whose one route has the login of a flag."""

    def start(flag):
        monkeypatch.setattr(shared.cmd_opts, "api_auth", flag)
        app = FastAPI(dependencies=auth.auth_dependencies())
        app.add_api_route("/who", lambda: "in")
        return TestClient(app)

    return start


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("ann:one", {"ann": "one"}),
        ("ann:one,bob:two", {"ann": "one", "bob": "two"}),
        (" ann : one , bob:two ", {"ann": "one", "bob": "two"}),
        ("ann:", {"ann": ""}),
        ("ann:one,ann:two", {"ann": "two"}),
        ("änn:pässword", {"änn": "pässword"}),
    ],
)
def test_pairs_of_the_flag(text, pairs):
    assert auth.credentials_from(text) == pairs


@pytest.mark.parametrize("text", ["", "ann", "ann:one,", "ann:one:two", "ann:one,bob", ","])
def test_flag_without_pairs_is_refused(text):
    with pytest.raises(InvalidInput, match="user:password") as caught:
        auth.credentials_from(text)
    assert caught.value.field == "api-auth"


@pytest.mark.parametrize("flag", [None, ""])
def test_without_the_flag_nobody_is_asked(client, flag):
    assert client(flag).get("/who").json() == "in"
    assert auth.auth_dependencies() == []


@pytest.mark.parametrize("pair", [("ann", "one"), ("bob", "two")])
def test_pair_that_is_known(client, pair):
    assert client("ann:one,bob:two").get("/who", auth=pair).json() == "in"


@pytest.mark.parametrize("encoding", ["utf8", "latin-1"])
def test_letters_beyond_ascii(client, encoding):
    served = client("änn:pässword")
    for password, status in (("pässword", 200), ("password", 401)):
        login = base64.b64encode(f"änn:{password}".encode(encoding)).decode()
        assert served.get("/who", headers={"authorization": f"Basic {login}"}).status_code == status


@pytest.mark.parametrize("pair", [("ann", "two"), ("ann", ""), ("ANN", "one"), ("eve", ""), ("eve", "one"), ("", "")])
def test_pair_that_is_unknown(client, pair):
    answer = client("ann:one,bob:two").get("/who", auth=pair)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Basic"
    assert answer.json() == {"detail": "Incorrect username or password"}


def test_nobody_asks_the_password_of_an_unknown_user(client):
    """An unknown user has the empty password to be compared with; it must not let anybody in."""
    assert client("ann:one").get("/who", auth=("eve", "")).status_code == 401


def test_request_without_a_login_is_told_of_it(client):
    answer = client("ann:one").get("/who")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("text", ["ann", "ann one", ""])
def test_login_without_a_colon(client, text):
    header = {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}
    assert client("ann:one").get("/who", headers=header).status_code == 401


def test_password_may_hold_a_colon_in_no_way(client):
    assert client("ann:one").get("/who", auth=("ann", "one:two")).status_code == 401


def test_flag_is_read_when_the_api_is_made(client, monkeypatch):
    served = client("ann:one")
    monkeypatch.setattr(shared.cmd_opts, "api_auth", None)
    assert served.get("/who").status_code == 401
