"""face: requests of this program to http and https addresses that its clients name: what an address says, whether it
may be asked, and its bounded answer.

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
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import quote

from modules.errors import InvalidInput

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


class TooLarge(Exception):
    """An answer of more bytes than are read."""


@dataclass(frozen=True)
class Address:
    """An address, read. host: as in the address, without brackets. target: path and query."""

    url: str
    scheme: str
    host: str
    port: int
    target: str


def read(url: str, field: str = "image") -> Address:
    """Returns what a plain address says; raises InvalidInput for any other: with a user, a backslash or blanks in it,
    a host that is a number in an odd notation, or one that is not written in ASCII. field: of the request it is in.
    """
    found = PLAIN.fullmatch(url)
    if found is None:
        raise InvalidInput(f"{url!r} is not a plain http or https address", field=field)
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
        raise InvalidInput(f"{url!r} is not a plain http or https address: {e}", field=field) from e
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
    """Returns the numbers that a host has; raises OSError if it has none, or the answer takes too long."""
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
    except UnicodeError as e:
        raise OSError(f"{address.host} is no name of a host") from e
    if not numbers:
        raise OSError(f"{address.host} has no address")
    return list(dict.fromkeys(numbers))


def are_public(numbers: list[str]) -> bool:
    """Says whether all addresses of a host are of the public Internet: one that is not spoils the others."""
    return all(is_public(number) for number in numbers)


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


def ask(
    address: Address,
    numbers: list[str],
    watch: Watch,
    most: int,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> tuple[int, str, bytes]:
    """Returns status, place of a redirect and body of the answer at an address, at most so many bytes. With a body it
    is posted, otherwise got.

    Raises OSError or HTTPException if there is no answer, and TooLarge.
    """
    with connect(address, numbers, watch) as sock:
        if address.scheme == "https":
            from requests import certs

            context = ssl.create_default_context(cafile=certs.where())
            sock = context.wrap_socket(sock, server_hostname=address.host, do_handshake_on_connect=False)
        with sock, watch.over(sock):
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection = http.client.HTTPConnection(address.host, address.port)
            connection.default_port = PORTS[address.scheme]
            connection.sock = sock
            headers = {"Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close", **headers}
            connection.request("GET" if body is None else "POST", address.target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("location", ""), body_of(answer, most)


def body_of(answer: http.client.HTTPResponse, most: int) -> bytes:
    """Returns the body of an answer; raises TooLarge, before it is read if it says its size."""
    body = b"" if (answer.length or 0) > most else answer.read(most + 1)
    if (answer.length or 0) > most or len(body) > most:
        raise TooLarge
    return body
