"""How routes are described, and which paths belong to the API."""

import pytest
from fastapi import APIRouter, FastAPI

from modules import http_paths, ui_security
from modules.http_routes import DescribedRoute


def test_docstrings_are_not_shown_and_descriptions_are():
    router = APIRouter(route_class=DescribedRoute)

    def handler():
        """Is for readers of the code."""

    router.add_api_route("/plain", handler)
    router.add_api_route("/described", handler, description="Is for users.")
    app, outer = FastAPI(), APIRouter()
    outer.include_router(router)
    app.include_router(outer)
    paths = app.openapi()["paths"]
    assert "description" not in paths["/plain"]["get"]
    assert paths["/described"]["get"]["description"] == "Is for users."


@pytest.mark.parametrize(
    ("path", "is_api"),
    [
        ("/sdapi/v1/txt2img", True),
        ("/serena/v1/extensions/check", True),
        ("/sdapi", False),
        ("/internal/ping", False),
        ("/mysdapi/", False),
    ],
)
def test_paths_of_the_api(path, is_api):
    assert http_paths.is_api(path) is is_api


def test_a_further_prefix_is_one_row(monkeypatch):
    """The guard and the log both read it."""
    assert ui_security.needs_login("/another/v1/jobs")
    monkeypatch.setattr(http_paths, "API_PREFIXES", (*http_paths.API_PREFIXES, "/another/v1/"))
    assert not ui_security.needs_login("/another/v1/jobs")
    assert ui_security.needs_login("/another/v2/jobs")


def test_measures_are_under_one_login(monkeypatch):
    monkeypatch.setattr(ui_security.cmd_opts, "api_auth", None)
    assert ui_security.needs_login("/metrics")
    monkeypatch.setattr(ui_security.cmd_opts, "api_auth", "user:password")
    assert not ui_security.needs_login("/metrics"), "it has that of the API"
