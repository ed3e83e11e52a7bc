"""Images as base64, data URIs and addresses; addresses are those of a small server of this test."""

import base64
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from modules import images
from modules.api import image_codec, outgoing
from modules.api.image_codec import RequestNotAllowed
from modules.errors import InvalidInput

INFO = "a cat\nSteps: 20, Sampler: Euler a, Seed: 5"


@pytest.fixture
def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8))


def file_of(image, image_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format=image_format, **options)
    return file.getvalue()


def text_of(image, **options):
    return base64.b64encode(file_of(image, **options)).decode("ascii")


def decoded(encoded):
    image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    image.load()
    return image


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:image/webp;base64,"])
def test_text_with_and_without_the_head_of_a_data_uri(noise, prefix):
    found = image_codec.decode_base64_to_image(prefix + text_of(noise))
    assert np.array_equal(np.asarray(found), np.asarray(noise))


def test_image_is_turned_upright(noise):
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the image is its right side
    found = image_codec.decode_base64_to_image(text_of(noise, exif=exif))
    assert found.size == (noise.height, noise.width)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "data:image/png;base64,", base64.b64encode(b"no image").decode(), "é"]
)
def test_text_that_is_no_image_is_refused(text):
    with pytest.raises(InvalidInput, match="Invalid encoded image") as caught:
        image_codec.decode_base64_to_image(text)
    assert caught.value.field == "image"


@pytest.mark.parametrize("value", [None, 5, b"bytes", ["list"]])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(InvalidInput, match="base64 text"):
        image_codec.decode_base64_to_image(value)


def test_cut_off_file_is_refused(noise):
    whole = file_of(noise)
    with pytest.raises(InvalidInput, match="Invalid encoded image"):
        image_codec.decode_base64_to_image(base64.b64encode(whole[: len(whole) // 2]).decode())


def test_png_carries_all_texts(noise):
    noise.info = {"parameters": INFO, "postprocessing": "x", "dpi": (72, 72), 5: "no name"}
    encoded = image_codec.encode_pil_to_base64(noise)
    assert isinstance(encoded, bytes)
    sent = decoded(encoded)
    assert sent.text == {"parameters": INFO, "postprocessing": "x"}
    assert np.array_equal(np.asarray(sent), np.asarray(noise))


@pytest.mark.parametrize(("extension", "name"), [("jpg", "JPEG"), ("webp", "WEBP"), ("avif", "AVIF"), ("png", "PNG")])
def test_format_is_that_of_the_setting(noise, settings, extension, name):
    settings(samples_format=extension, enable_pnginfo=False)
    noise.info = {"parameters": INFO}
    sent = decoded(image_codec.encode_pil_to_base64(noise))
    assert sent.format == name
    assert images.read_info_from_image(sent)[0] == INFO


def test_quality_and_loss_are_those_of_the_settings(noise, settings):
    settings(samples_format="jpg", jpeg_quality=5)
    low = image_codec.to_json_image(noise)
    settings(jpeg_quality=95)
    assert len(low) < len(image_codec.to_json_image(noise))
    settings(samples_format="webp", webp_lossless=True)
    assert np.array_equal(np.asarray(decoded(image_codec.to_json_image(noise))), np.asarray(noise))


def test_image_without_texts(noise, settings):
    assert decoded(image_codec.to_json_image(noise)).text == {}
    settings(samples_format="jpg")
    assert images.read_info_from_image(decoded(image_codec.to_json_image(noise)))[0] is None


def test_text_in_place_of_an_image_is_passed_on():
    assert image_codec.encode_pil_to_base64("already") == "already"
    assert image_codec.to_json_image("already") == "already"


def test_unknown_format_is_named(noise, settings):
    settings(samples_format="xyz")
    with pytest.raises(InvalidInput, match="'xyz'") as caught:
        image_codec.to_json_image(noise)
    assert caught.value.field == "samples_format"


class Site(BaseHTTPRequestHandler):
    """Answers /image with an image, /moved with the way there, /text with a text; notes what it is asked."""

    def do_GET(self):
        self.server.agents.append(self.headers["user-agent"])
        status = {"/moved": 302, "/image": 200, "/text": 200}.get(self.path, 404)
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/image")
        self.end_headers()
        self.wfile.write(file_of(Image.new("RGB", (3, 2), "red")) if self.path == "/image" else b"text")

    def log_message(self, *args):
        """Says nothing."""


@pytest.fixture
def site():
    """Address of a running server, and what its clients called themselves."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.agents = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", agents=server.agents)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def local_allowed(settings):
    settings(api_enable_requests=True, api_forbid_local_requests=False)


def test_image_at_an_address(site, local_allowed, settings):
    settings(api_useragent="tester/1")
    found = image_codec.decode_base64_to_image(f"{site.url}/image")
    assert (found.size, found.getpixel((0, 0))) == ((3, 2), (255, 0, 0))
    assert site.agents == ["tester/1"]


def test_without_a_name_the_client_is_the_library(site, local_allowed, settings):
    settings(api_useragent="")
    image_codec.download_image(f"{site.url}/image")
    assert site.agents[0].startswith("python-requests")


def test_redirect_is_followed_only_where_local_addresses_are_allowed(site, local_allowed, settings, monkeypatch):
    assert image_codec.download_image(f"{site.url}/moved").size == (3, 2)
    settings(api_forbid_local_requests=True)
    monkeypatch.setattr(outgoing, "is_public", lambda number: True)
    with pytest.raises(InvalidInput, match="gave no picture"):
        image_codec.download_image(f"{site.url}/moved")


@pytest.mark.parametrize("path", ["/text", "/nothing"])
def test_address_without_an_image_is_refused(site, local_allowed, path):
    with pytest.raises(InvalidInput, match=path) as caught:
        image_codec.download_image(site.url + path)
    assert caught.value.field == "image"


def test_address_that_nobody_answers_at(site, local_allowed):
    with pytest.raises(InvalidInput, match="gave no picture"):
        image_codec.download_image("http://127.0.0.1:1/image")


def test_local_address_is_not_asked(site, settings):
    settings(api_enable_requests=True, api_forbid_local_requests=True)
    with pytest.raises(RequestNotAllowed, match="local") as caught:
        image_codec.decode_base64_to_image(f"{site.url}/image")
    assert caught.value.http_status == 403
    assert site.agents == []


def test_no_address_is_asked_when_requests_are_off(site, settings):
    settings(api_enable_requests=False, api_forbid_local_requests=False)
    with pytest.raises(RequestNotAllowed, match="api_enable_requests"):
        image_codec.decode_base64_to_image(f"{site.url}/image")
    assert site.agents == []


@pytest.mark.parametrize(
    ("host", "is_public"),
    [
        ("8.8.8.8", True),
        ("[2001:4860:4860::8888]", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("[::1]", False),
        ("[fd00::1]", False),
        ("localhost", False),
    ],
)
def test_public_addresses(host, is_public):
    assert image_codec.verify_url(f"http://{host}:8080/a.png") is is_public


@pytest.mark.parametrize("url", ["http:///a.png", "http://[broken/a.png", "http://no-such-host.invalid/a.png"])
def test_address_that_leads_nowhere_is_not_public(url):
    assert image_codec.verify_url(url) is False


def test_every_address_of_a_host_counts(monkeypatch):
    answers = [(2, 1, 6, "", ("8.8.8.8", 0)), (2, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(outgoing.socket, "getaddrinfo", lambda host, port, type: answers)
    assert image_codec.verify_url("http://both.example/a.png") is False
    del answers[1]
    assert image_codec.verify_url("http://both.example/a.png") is True
