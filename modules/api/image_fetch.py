"""face: images at http and https addresses: what an address says, whether it may be asked, and its bounded answer.

An address is read once, by the one expression below, and its host is resolved once: the check and the connection get
the same host, port and number. Whatever another reader could understand in another way is refused.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import quote, urljoin

from requests import certs
from requests.utils import default_user_agent

from modules.errors import InvalidInput, WebuiError

SECONDS = 30
"""For everything together: the name, the connection, the answer."""

MAX_BYTES = 256 << 20
REDIRECTS = 5
REDIRECTED = (301, 302, 303, 307, 308)
PORTS = {"http": 80, "https": 443}

PLAIN = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][^\\\s\x00-\x1f\x7f#]*)?"
    r"(?:#[^\s\x00-\x1f\x7f]*)?"
)
NUMERIC = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""A last part of a host that makes readers take all of it for a number, in whatever notation."""

UNICAST = IPv6Network("2000::/3")
"""All public addresses of IPv6."""

EMBEDDING = tuple(IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
"""IPv6 networks whose last 32 bits are an address of IPv4: compatible, mapped, translated (RFC 2765), NAT64."""

ISATAP = (0x00005EFE, 0x02005EFE)
"""Bits 32 to 63 from the end where the last 32 are an address of IPv4, whatever the network (RFC 5214)."""


class RequestNotAllowed(WebuiError):
    """An address that must not be fetched."""

    http_status = 403


@dataclass(frozen=True)
class Address:
    """An address, read. host: as in the address, without brackets. target: path and query."""

    url: str
    scheme: str
    host: str
    port: int
    target: str


def read(url: str) -> Address:
    """Returns what a plain address says; raises InvalidInput for any other: with a user, a backslash or blanks in it,
    a host that is a number in an odd notation, or one that is not written in ASCII.
    """
    found = PLAIN.fullmatch(url)
    if found is None:
        raise InvalidInput(f"{url!r} is not a plain http or https address", field="image")
    host = found["host"].strip("[]")
    port = int(found["port"] or PORTS[found["scheme"]])
    try:
        if found["host"].startswith("["):
            IPv6Address(host)
        elif NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]):
            IPv4Address(host)
        if not 0 < port < 65536:
            raise ValueError(f"{port} is no port")
    except ValueError as e:
        raise InvalidInput(f"{url!r} is not a plain http or https address: {e}", field="image") from e
    target = found["target"] or "/"
    if target.startswith("?"):
        target = f"/{target}"
    return Address(url, found["scheme"], host, port, quote(target, safe="%/:=&?~+!$,;'@()*[]"))


def embedded(address: IPv6Address) -> list[IPv4Address]:
    """Returns the addresses of IPv4 that one of IPv6 stands for, or leads to."""
    last = IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in EMBEDDING):
        return [last]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    return [last] if int(address) >> 32 & 0xFFFFFFFF in ISATAP and address in UNICAST else []


def is_public(number: str) -> bool:
    """Says whether an address as a number is one of the public Internet; one that embeds others counts as these."""
    address = ipaddress.ip_address(number.partition("%")[0])
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    inner = embedded(address)
    if inner:
        return all(is_public(str(found)) for found in inner)
    return address in UNICAST and address.is_global


def resolve(address: Address, seconds: float) -> list[str]:
    """Returns the numbers that a host has; raises InvalidInput if it has none, or the answer takes too long."""
    answer: Future[list] = Future()

    def work() -> None:
        """Asks the system, which knows no limit of time."""
        try:
            answer.set_result(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as e:
            answer.set_exception(e)

    threading.Thread(target=work, name="resolve", daemon=True).start()
    try:
        numbers = [row[4][0] for row in answer.result(seconds)]
    except (OSError, UnicodeError) as e:  # a TimeoutError too
        raise no_image(address) from e
    if not numbers:
        raise no_image(address)
    return list(dict.fromkeys(numbers))


def no_image(address: Address) -> InvalidInput:
    """Returns the error of an address that gives no image."""
    return InvalidInput(f"Invalid image url: {address.url} gave no picture", field="image")


def checked_numbers(address: Address, seconds: float) -> list[str]:
    """Returns the numbers of a host; raises RequestNotAllowed unless all of them are public."""
    numbers = resolve(address, seconds)
    if not all(is_public(number) for number in numbers):
        raise RequestNotAllowed("Request to local resource not allowed: send the picture as base64", field="image")
    return numbers


class Watch:
    """Ends a connection when its time is over, however slowly the other side sends."""

    def __init__(self, seconds: float):
        self.ends = time.monotonic() + seconds
        self.sock: socket.socket | None = None

    @property
    def left(self) -> float:
        """Seconds that are left, never none at all."""
        return max(self.ends - time.monotonic(), 0.001)

    @contextmanager
    def over(self, sock: socket.socket) -> Iterator[None]:
        """Watches over a socket in the block."""
        self.sock = sock
        timer = threading.Timer(self.left, self.end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def end(self) -> None:
        """Shuts the connection down below TLS, which another thread may be in the middle of."""
        with suppress(OSError, AttributeError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def connect(address: Address, numbers: list[str], watch: Watch) -> socket.socket:
    """Returns a connection to the first of the numbers that takes one. Raises OSError if none does."""
    error: OSError | None = None
    for number in numbers:
        try:
            return socket.create_connection((number, address.port), timeout=watch.left)
        except OSError as e:
            error = e
    raise error or OSError("no address")


def ask(address: Address, numbers: list[str], agent: str, watch: Watch) -> tuple[int, str, bytes]:
    """Returns status, place of a redirect and body of the answer at an address. Raises OSError or HTTPException if
    there is none, and InvalidInput for one that is too large.
    """
    with connect(address, numbers, watch) as sock:
        if address.scheme == "https":
            context = ssl.create_default_context(cafile=certs.where())
            sock = context.wrap_socket(sock, server_hostname=address.host, do_handshake_on_connect=False)
        with sock, watch.over(sock):
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection = http.client.HTTPConnection(address.host, address.port)
            connection.default_port = PORTS[address.scheme]
            connection.sock = sock
            headers = {"User-Agent": agent, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
            connection.request("GET", address.target, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("location", ""), body_of(answer, address)


def body_of(answer: http.client.HTTPResponse, address: Address) -> bytes:
    """Returns the body of an answer; raises InvalidInput for one that is too large, before it is read if it says so."""
    body = b"" if (answer.length or 0) > MAX_BYTES else answer.read(MAX_BYTES + 1)
    if (answer.length or 0) > MAX_BYTES or len(body) > MAX_BYTES:
        raise InvalidInput(f"{address.url} sends more than {MAX_BYTES >> 20} MB", field="image")
    return body


def fetch(url: str, *, only_public: bool, agent: str = "") -> bytes:
    """Returns what stands at an address. only_public: the host has to be on the public Internet, and its answer is not
    a redirect. agent: how this program calls itself.

    Raises RequestNotAllowed for an address that must not be asked, and InvalidInput where no answer comes.
    """
    watch = Watch(SECONDS)
    for _ in range(1 + REDIRECTS):
        address = read(url)
        numbers = checked_numbers(address, watch.left) if only_public else resolve(address, watch.left)
        try:
            status, place, body = ask(address, numbers, agent or default_user_agent(), watch)
        except (OSError, http.client.HTTPException) as e:
            raise no_image(address) from e
        if status == 200 and time.monotonic() < watch.ends:
            return body
        if only_public or status not in REDIRECTED or not place:
            break
        url = urljoin(url, place)
    raise no_image(address)
