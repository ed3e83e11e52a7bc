import gzip
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from modules import ui_assets


@pytest.fixture
def client():
    app = FastAPI()
    app.add_middleware(ui_assets.Assets)
    app.add_api_route("/assets/{path:path}", lambda path: f"passed on: {path}")
    app.add_api_route("/other", lambda: "other")
    return TestClient(app)


def some_asset(suffix):
    return min(name for name in ui_assets.names() if name.endswith(suffix))


@pytest.mark.parametrize("suffix", [".js", ".css", ".svg", ".woff2"])
def test_files_of_the_front_end_are_sent_as_they_are(client, suffix):
    name = some_asset(suffix)
    answer = client.get(f"/assets/{name}")
    assert answer.content == (Path(ui_assets.BUILD_PATH_LIB) / name).read_bytes()
    assert answer.headers["content-type"].startswith(ui_assets.MEDIA_TYPES[suffix])
    assert "max-age" in answer.headers["cache-control"]
    assert client.head(f"/assets/{name}").status_code == 200


def test_files_are_packed_for_those_who_can_read_it(client):
    name = max(ui_assets.names(), key=lambda name: (Path(ui_assets.BUILD_PATH_LIB) / name).stat().st_size)
    plain = client.get(f"/assets/{name}", headers={"Accept-Encoding": "identity"})
    packed = client.get(f"/assets/{name}", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert packed.content == plain.content == gzip.decompress(ui_assets.asset(name).packed)


@pytest.mark.parametrize("path", ["/assets/none.js", "/assets/", "/assets/../routes.py", "/assets/x%2f..%2findex.js"])
def test_all_else_is_passed_on(client, path):
    answer = client.get(path)
    assert answer.status_code == 404 or answer.json().startswith("passed on")
    assert client.get("/other").json() == "other"


def test_front_end_below_a_subpath(client):
    client.app.root_path = "/sd"
    assert client.get(f"/sd/assets/{some_asset('.css')}").status_code == 200


@pytest.mark.parametrize("text", ui_assets.QUICKER)
def test_slow_searches_are_where_they_are_expected(text):
    files = [path for path in Path(ui_assets.BUILD_PATH_LIB).glob("*.js") if text.encode() in path.read_bytes()]
    assert len(files) == 1
    sent = ui_assets.asset(files[0].name).plain
    assert text.encode() not in sent and ui_assets.QUICKER[text].encode() in sent
