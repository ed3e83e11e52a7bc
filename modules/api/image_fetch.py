"""face: images at http and https addresses that clients name in the place of an image."""

from __future__ import annotations

import http.client
import time
from urllib.parse import urljoin

from modules.api import outgoing
from modules.api.outgoing import Address, Watch
from modules.errors import InvalidInput, WebuiError

SECONDS = 30
"""For everything together: the name, the connection, the answer."""

MAX_BYTES = 256 << 20
REDIRECTS = 5
REDIRECTED = (301, 302, 303, 307, 308)


class RequestNotAllowed(WebuiError):
    """An address that must not be fetched."""

    http_status = 403


def no_image(address: Address) -> InvalidInput:
    """Returns the error of an address that gives no image."""
    return InvalidInput(f"Invalid image url: {address.url} gave no picture", field="image")


def checked_numbers(address: Address, seconds: float) -> list[str]:
    """Returns the numbers of a host; raises RequestNotAllowed unless all of them are public, InvalidInput if it has
    none.
    """
    try:
        numbers = outgoing.resolve(address, seconds)
    except OSError as e:
        raise no_image(address) from e
    if not outgoing.are_public(numbers):
        raise RequestNotAllowed("Request to local resource not allowed: send the picture as base64", field="image")
    return numbers


def fetch(url: str, *, only_public: bool, agent: str = "") -> bytes:
    """Returns what stands at an address. only_public: the host has to be on the public Internet, and its answer is not
    a redirect. agent: how this program calls itself.

    Raises RequestNotAllowed for an address that must not be asked, and InvalidInput where no answer comes.
    """
    from requests.utils import default_user_agent

    watch = Watch(SECONDS)
    headers = {"User-Agent": agent or default_user_agent()}
    for _ in range(1 + REDIRECTS):
        address = outgoing.read(url)
        try:
            find = checked_numbers if only_public else outgoing.resolve
            status, place, body = outgoing.ask(address, find(address, watch.left), watch, MAX_BYTES, headers)
        except outgoing.TooLarge as e:
            raise InvalidInput(f"{address.url} sends more than {MAX_BYTES >> 20} MB", field="image") from e
        except (OSError, http.client.HTTPException) as e:
            raise no_image(address) from e
        if status == 200 and time.monotonic() < watch.ends:
            return body
        if only_public or status not in REDIRECTED or not place:
            break
        url = urljoin(url, place)
    raise no_image(address)
