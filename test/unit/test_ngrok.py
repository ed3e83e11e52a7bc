import sys
from types import SimpleNamespace

import pytest

from modules import errors, ngrok


@pytest.fixture
def forwarded(monkeypatch):
    """The calls of the package's forward, which is not asked for a tunnel."""
    calls = []

    def forward(address, **options):
        calls.append((address, options))
        return SimpleNamespace(url=lambda: "https://tunnel.example.org")

    monkeypatch.setitem(sys.modules, "ngrok", SimpleNamespace(forward=forward))
    return calls


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("abc", {"authtoken": "abc"}),
        ("abc:user:pass", {"authtoken": "abc", "basic_auth": "user:pass"}),
        (None, {"authtoken_from_env": True}),
        ("None", {"authtoken_from_env": True}),
    ],
)
def test_token_and_login_are_passed_on(forwarded, token, expected):
    options = {"domain": "example.org"}
    assert ngrok.connect(token, 7860, options) == "https://tunnel.example.org"
    assert forwarded == [("127.0.0.1:7860", {"domain": "example.org", **expected})]
    assert options == {"domain": "example.org"}


def test_refusal_names_the_flag(monkeypatch):
    def refuse(address, **options):
        raise ValueError("bad token")

    monkeypatch.setitem(sys.modules, "ngrok", SimpleNamespace(forward=refuse))
    with pytest.raises(errors.WebuiError, match="bad token. Check the token") as e:
        ngrok.connect("x", 1, {})
    assert e.value.field == "ngrok"


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ngrok", None)
    with pytest.raises(errors.NotSupported, match="pip install ngrok"):
        ngrok.connect("x", 1, {})
