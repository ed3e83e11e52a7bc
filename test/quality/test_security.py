"""Attacks on the real application: files of the server, other sites, requests without a login, exploding pictures."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib

import pytest
from PIL import Image

from modules import shared, ui_security
from modules.paths_internal import data_path, script_path

FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}


def file_value(path):
    return {"path": str(path), "orig_name": "picture.png", "meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def config(client):
    return client.get("/config").json()


@pytest.fixture
def login(app, monkeypatch):
    """Makes the page ask for a login, and returns the headers of someone who has logged in."""
    page = ui_security.page_of(app)
    monkeypatch.setattr(page, "auth", {"ann": "secret"})
    monkeypatch.setitem(page.tokens, "token", "ann")
    return {"Cookie": f"access-token-unsecure-{page.cookie_id}=token"}


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """A picture on the server that no one may see, and its bytes."""
    path = tmp_path_factory.mktemp("private") / "secret.png"
    Image.new("RGB", (32, 32), "purple").save(path)
    return path


@pytest.mark.parametrize("prefix", ["/file=", "/gradio_api/file=", "/gradio_api/file/"])
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "../../../../etc/passwd",
        "..%2F..%2F..%2F..%2Fetc%2Fpasswd",
        "javascript/..%2F..%2Fwebui.py",
        "javascript%2F..%2Fmodules%2Fshared.py",
        "%2e%2e%2fwebui.py",
        "webui.py",
        "modules/shared.py",
        "modules/embedded/demo-emoji.safetensors",
        "{script_path}/launch.py",
        "{data_path}/config.json",
        "{data_path}/ui-config.json",
        "{data_path}/styles.csv",
        ".git/HEAD",
        "C:%5CWindows%5Cwin.ini",
        "%5C%5Chost%5Cshare%5Cx.png",
        "//host/share/x.png",
        "http://169.254.169.254/latest/meta-data",
        "style.css%00.png",
    ],
)
def test_no_address_reaches_a_private_file(client, prefix, path):
    path = path.format(script_path=script_path, data_path=data_path)
    assert client.get(prefix + path).status_code in (403, 404)


def test_scripts_the_page_names_are_sent(client):
    page = client.get("/").text
    names = [part.split('"')[0] for part in page.split('src="file=')[1:]]
    assert "script.js" in names[0] and len(names) > 10
    for name in names:
        answer = client.get(f"/file={name}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["x-content-type-options"] == "nosniff" and "max-age" in answer.headers["cache-control"]


@pytest.mark.parametrize("component", ["file", "image", "gallery", "imageeditor"])
def test_no_function_of_the_page_takes_a_file_nobody_uploaded(client, config, secret, component):
    """Every event that has such an input gets the secret in it; all else stays as the page has it at the start."""
    components = {entry["id"]: entry for entry in config["components"]}
    tried = 0
    for dependency in config["dependencies"]:
        kinds = [components[number]["type"] for number in dependency["inputs"]]
        if component not in kinds or not dependency["backend_fn"]:
            continue
        values = {
            "file": file_value(secret),
            "image": file_value(secret),
            "gallery": [{"image": file_value(secret), "caption": None}],
            "imageeditor": {"background": file_value(secret), "layers": [], "composite": file_value(secret)},
        }
        data = [
            values[component] if kind == component else components[number]["props"].get("value")
            for number, kind in zip(dependency["inputs"], kinds, strict=True)
        ]
        answer = client.post("/gradio_api/run/predict", json={"fn_index": dependency["id"], "data": data})
        tried += 1
        assert answer.status_code >= 400, dependency["api_name"]
        assert "not uploaded" in answer.text or "queue" in answer.text.lower(), (dependency["api_name"], answer.text)
    assert tried > 0


def test_a_path_in_a_gallery_is_no_way_around(client, secret):
    from modules import errors, infotext_utils

    for form in (str(secret), file_value(secret), [(str(secret), None)]):
        with pytest.raises(errors.InvalidInput, match="not a picture of this page"):
            infotext_utils.image_from_url_text(form)


@pytest.mark.parametrize("path", ["/sdapi/v1/options", "/sdapi/v1/interrupt", "/internal/progress", "/login"])
def test_other_sites_cannot_post(client, path):
    before = dict(shared.opts.data)
    answer = client.post(path, content=json.dumps({"samples_format": "jpg"}), headers=FOREIGN)
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
    assert shared.opts.data == before


def test_programs_need_no_headers_of_a_browser(client):
    assert client.post("/sdapi/v1/interrupt").status_code == 200
    assert client.post("/internal/progress", json={}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/gradio_api/info",
        "/file=script.js",
        "/gradio_api/file=script.js",
        "/sd_extra_networks/thumb",
        "/internal/sysinfo",
        "/internal/pending-tasks",
        "/docs",
        "/openapi.json",
        "/webui-assets/css/x.css",
    ],
)
def test_login_covers_the_routes_of_the_page(client, login, path):
    assert client.get(path).status_code == 401
    assert client.get(path, headers=login).status_code != 401


def test_form_of_the_login_tells_nothing_of_the_page(client, login):
    form = client.get("/").text
    assert '"auth_required":true' in form.replace(" ", "")
    assert "txt2img" not in form and "file=" not in form.replace("file=/", "")
    assert client.get("/internal/ping").status_code == 200


def bomb(width, height):
    """A PNG file of a few bytes that says to be a large picture."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2_000_000, 100)])
def test_pictures_that_would_fill_the_memory_are_refused(client, size):
    image = base64.b64encode(bomb(*size)).decode()
    requests = {
        "/sdapi/v1/png-info": {"image": image},
        "/sdapi/v1/extra-single-image": {"image": image},
        "/sdapi/v1/img2img": {"init_images": [image], "steps": 1},
    }
    for path, body in requests.items():
        answer = client.post(path, json=body)
        assert answer.status_code == 422, path
        assert "too large" in answer.json()["detail"] and answer.json()["field"] == "image"


def test_text_that_explodes_is_refused(client):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "png")
    content = buffer.getvalue()
    body = b"parameters\0\0" + zlib.compress(b"x" * (80 << 20))
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    image = base64.b64encode(content[:33] + chunk + content[33:]).decode()
    assert client.post("/sdapi/v1/png-info", json={"image": image}).status_code in (200, 422)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_needs_no_other_host(client, path):
    page = client.get(path).text
    assert "http://" not in page and "https://" not in page
    sources = [part.split('"')[0] for name in ('src="', 'href="') for part in page.split(name)[1:]]
    assert sources
    for source in sources:
        answer = client.get(source)
        assert answer.status_code == 200 and "cdn.redoc.ly/redoc/logo" not in answer.text, source
