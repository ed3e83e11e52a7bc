"""Addresses are read once, checked as what they lead to, and answered within bounds; the servers are of this test."""

import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from modules.api import image_fetch, outgoing
from modules.api.image_fetch import RequestNotAllowed
from modules.errors import InvalidInput


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("http://example.org", "example.org", 80, "/"),
        ("https://example.org/a/b.png?c=d&e=%20#f", "example.org", 443, "/a/b.png?c=d&e=%20"),
        ("http://EXAMPLE.org.:8080?q", "EXAMPLE.org.", 8080, "/?q"),
        ("http://1.2.3.4/\u00e4", "1.2.3.4", 80, "/%C3%A4"),
        ("https://[2001:db8::1]:444/x", "2001:db8::1", 444, "/x"),
        ("http://a_b-c.example/@x:y", "a_b-c.example", 80, "/@x:y"),
    ],
)
def test_plain_addresses(url, host, port, target):
    address = outgoing.read(url)
    assert (address.host, address.port, address.target) == (host, port, target)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "http:/example.org/",
        "http:///a.png",
        "http://user@example.org/",
        "http://user:password@example.org/",
        "http://example.org\\@127.0.0.1/",
        "http://example.org#@127.0.0.1/ x",
        "http://127.0.0.1:80@example.org/",
        "http://example.org /a",
        "http://example.org/a b",
        "http://example.org/\r\nHost: 127.0.0.1",
        "http://exa\tmple.org/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.01/",
        "http://127.0.0.1./",
        "http://1.2.3.4.5/",
        "http://example.0x/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://127\u30020\u30020\u30021/",
        "http://ex\u00e4mple.org/",
        "http://%31%32%37.0.0.1/",
        "http://[fe80::1%25eth0]/",
        "http://[127.0.0.1]/",
        "http://[::1/",
        "http://::1/",
        "http://example.org:0/",
        "http://example.org:65536/",
        "http://example.org:8o/",
        "http://example.org:/",
        "http://?a",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(url):
    with pytest.raises(InvalidInput) as caught:
        outgoing.read(url)
    assert caught.value.field == "image"


@pytest.mark.parametrize(
    ("number", "is_public"),
    [
        ("8.8.8.8", True),
        ("127.0.0.1", False),
        ("100.64.0.1", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("2001:4860:4860::8888", True),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        ("4000::1", False),
        ("::ffff:8.8.8.8", True),
        ("::ffff:127.0.0.1", False),
        ("::ffff:0:10.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::169.254.169.254", False),
        ("64:ff9b:1::8.8.8.8", False),
        ("2002:808:808::1", True),
        ("2002:7f00:1::1", False),
        ("2002:c0a8:1::1", False),
        ("2001:0:808:808::f7f7:f7f7", True),  # Teredo: server 8.8.8.8, client 8.8.8.8
        ("2001:0:808:808::80ff:fffe", False),  # client 127.0.0.1
        ("2a00:1450::5efe:10.0.0.1", False),
        ("2a00:1450::200:5efe:8.8.8.8", True),
    ],
)
def test_numbers_count_as_what_they_lead_to(number, is_public):
    assert outgoing.is_public(number) is is_public


class Site(BaseHTTPRequestHandler):
    """Answers as its path says."""

    def do_GET(self):
        self.server.hosts.append(self.headers["host"])
        getattr(self, self.path.strip("/"))()

    def whole(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"content")

    def moved(self):
        self.send_response(302)
        self.send_header("location", "/moved")
        self.end_headers()

    def large(self):
        self.send_response(200)
        self.send_header("content-length", str(image_fetch.MAX_BYTES + 1))
        self.end_headers()

    def endless(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(b"0" * 1000)

    def slow(self):
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.drip()

    def slow_head(self):
        self.drip()

    def drip(self):
        for _ in range(100):
            self.wfile.write(b"H")
            self.wfile.flush()
            time.sleep(0.05)

    def log_message(self, *args):
        """Says nothing."""


@contextmanager
def running(context=None):
    """A server, over TLS with a context."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.hosts = []
    server.handle_error = lambda *args: None
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield SimpleNamespace(port=server.server_port, hosts=server.hosts)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def site():
    with running() as site:
        yield site


def test_what_was_checked_is_what_is_asked(site, monkeypatch):
    """The name is resolved once: a name server that answers otherwise the second time changes nothing."""
    asked = []

    def once(host, port, type=0):
        asked.append(host)
        number = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port))]

    connect = socket.create_connection
    numbers = []
    monkeypatch.setattr(outgoing, "is_public", lambda number: numbers.append(number) or True)
    monkeypatch.setattr(outgoing.socket, "getaddrinfo", lambda host, port, type=0: once(host, port))

    def connected(target, timeout):
        assert target == ("127.0.0.1", site.port)
        monkeypatch.undo()
        return connect(target, timeout)

    monkeypatch.setattr(outgoing.socket, "create_connection", connected)
    url = f"http://pictures.example:{site.port}/whole"
    assert image_fetch.fetch(url, only_public=True) == b"content"
    assert (asked, numbers) == (["pictures.example"], ["127.0.0.1"])
    assert site.hosts == [f"pictures.example:{site.port}"]


def test_a_local_address_is_not_asked_by_any_name(site, monkeypatch):
    answer = [(socket.AF_INET6, 1, 6, "", ("::ffff:127.0.0.1", site.port, 0, 0))]
    monkeypatch.setattr(outgoing.socket, "getaddrinfo", lambda host, port, type=0: answer)
    with pytest.raises(RequestNotAllowed, match="local"):
        image_fetch.fetch(f"http://pictures.example:{site.port}/whole", only_public=True)
    assert site.hosts == []


def test_redirects_end(site):
    with pytest.raises(InvalidInput, match="gave no picture"):
        image_fetch.fetch(f"http://127.0.0.1:{site.port}/moved", only_public=False)
    assert len(site.hosts) == 1 + image_fetch.REDIRECTS


@pytest.mark.parametrize("path", ["large", "endless"])
def test_an_answer_that_is_too_large(site, monkeypatch, path):
    monkeypatch.setattr(image_fetch, "MAX_BYTES", 10_000)
    with pytest.raises(InvalidInput, match="more than"):
        image_fetch.fetch(f"http://127.0.0.1:{site.port}/{path}", only_public=False)


@pytest.mark.parametrize("path", ["slow", "slow_head"])
def test_the_time_is_that_of_the_whole_answer(site, monkeypatch, path):
    monkeypatch.setattr(image_fetch, "SECONDS", 0.5)
    begin = time.monotonic()
    with pytest.raises(InvalidInput, match="gave no picture"):
        image_fetch.fetch(f"http://127.0.0.1:{site.port}/{path}", only_public=False)
    assert time.monotonic() - begin < 3


def test_a_name_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(image_fetch, "SECONDS", 0.2)
    monkeypatch.setattr(outgoing.socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(1))
    begin = time.monotonic()
    with pytest.raises(InvalidInput, match="gave no picture"):
        image_fetch.fetch("http://slow.example/", only_public=True)
    assert time.monotonic() - begin < 0.9


def test_the_certificate_is_that_of_the_name(tmp_path, monkeypatch):
    """The connection goes to a number, and the name of the address is what the certificate has to be for."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=pictures.example",
    ]
    names = ["-addext", "subjectAltName=DNS:pictures.example", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run([*command, *names], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setattr("requests.certs.where", lambda: str(certificate))
    monkeypatch.setattr(outgoing, "resolve", lambda address, seconds: ["127.0.0.1"])
    with running(context) as site:
        assert image_fetch.fetch(f"https://pictures.example:{site.port}/whole", only_public=False) == b"content"
        with pytest.raises(InvalidInput, match="gave no picture"):
            image_fetch.fetch(f"https://other.example:{site.port}/whole", only_public=False)
