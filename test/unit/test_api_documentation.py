"""/docs and /redoc of a small application: complete without any other host."""

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from modules.api import documentation


@pytest.fixture
def client():
    app = FastAPI(title="A <title>", docs_url=None, redoc_url=None)
    app.add_api_route("/mine", lambda: 1)
    documentation.install(app)
    return TestClient(app)


def addresses(html):
    return re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", html)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_page_needs_nothing_from_elsewhere(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    found = addresses(answer.text)
    assert [address for address in found if address.startswith(documentation.ASSETS_PATH)]
    assert not [address for address in found if "//" in address]
    for address in found:
        if address.startswith("/"):
            assert client.get(address).status_code == 200, address


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_page_reads_the_schema_of_the_application(client, path):
    html = client.get(path).text
    assert "/openapi.json" in html
    assert "A <title>" in html or "A &lt;title&gt;" in html


def test_files_have_their_types(client):
    for name, kind in (("swagger-ui-bundle.js", "javascript"), ("swagger-ui.css", "text/css"), ("favicon.png", "png")):
        answer = client.get(f"{documentation.ASSETS_PATH}/{name}")
        assert kind in answer.headers["content-type"]
        assert answer.content


def test_redoc_asks_no_other_host_for_its_logo(client):
    script = client.get(f"{documentation.ASSETS_PATH}/redoc.standalone.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert documentation.REDOC_LOGO not in script.text
    original = (documentation.ASSETS / "redoc.standalone.js").read_text(encoding="utf8")
    assert script.text == original.replace(documentation.REDOC_LOGO, documentation.NO_IMAGE)


def test_addresses_begin_with_the_path_of_a_proxy(client):
    behind = TestClient(client.app, root_path="/sd/")
    for path in ("/docs", "/redoc"):
        found = [address for address in addresses(behind.get(path).text) if address.startswith("/")]
        assert found
        assert all(address.startswith("/sd/") for address in found)


def test_pages_are_no_part_of_the_schema(client):
    assert list(client.get("/openapi.json").json()["paths"]) == ["/mine"]


def test_no_file_outside_the_folder_is_served(client):
    assert client.get(f"{documentation.ASSETS_PATH}/../__init__.py").status_code == 404
    assert client.get(f"{documentation.ASSETS_PATH}/%2e%2e/__init__.py").status_code == 404
