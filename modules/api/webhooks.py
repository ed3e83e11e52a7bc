"""face: telling a client's own server that its job is over: signed, tried again with longer and longer waits, after a
restart too.

Which hosts may be called is a setting; what is no public address never is, and what was checked is what is called. The
headers and the signature are those of https://www.standardwebhooks.com/.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from modules import jobs, shared
from modules.api import job_view, outgoing
from modules.api.outgoing import Address, Watch
from modules.errors import InvalidInput, WebuiError
from modules.job.row import OVER, Row
from modules.options import OptionValues
from modules.version import __version__

logger = logging.getLogger(__name__)

SECONDS = 15
"""For one call, everything together."""

WAITS = (10, 60, 5 * 60, 30 * 60, 2 * 60 * 60, 8 * 60 * 60)
"""Seconds between the tries; after the last of them it is given up."""

AT_ONCE = 4
"""Calls at the same time."""

MOST_ANSWERED = 1 << 20
"""Bytes of an answer that are read; nothing depends on them."""

GONE = 410
"""The status of a server that wants no more calls."""

SIGNED_WITH = "v1"


@dataclass(frozen=True)
class WebhookSettings(OptionValues):
    """jobs_webhook_hosts: separated by commas; "*.example.org" is all below example.org. jobs_webhook_secret: what
    calls are signed with.
    """

    jobs_webhook_hosts: str
    jobs_webhook_secret: str


class Refused(Exception):
    """An address that is not called, and will not be tried again."""


def checked(url: str) -> str:
    """Returns an address that may be called. Raises InvalidInput, naming the field and the setting, for all others."""
    settings = WebhookSettings.from_opts(shared.opts)
    address = outgoing.read(url, "webhook")
    try:
        check(address, settings)
    except Refused as e:
        raise InvalidInput(f"webhook: {e}", field="webhook") from e
    return url


def check(address: Address, settings: WebhookSettings) -> None:
    """Raises Refused for an address that the settings do not allow, or whose host is a number that is not public."""
    if not is_listed(address.host, settings.jobs_webhook_hosts.split(",")):
        raise Refused(f"{address.host} is none of the hosts in the setting jobs_webhook_hosts")
    if not settings.jobs_webhook_secret:
        raise Refused("calls are signed, and the setting jobs_webhook_secret is empty")
    try:
        ip_address(address.host)
    except ValueError:
        return  # a name: what it leads to is looked at when it is called
    check_public([address.host])


def check_public(numbers: list[str]) -> None:
    """Raises Refused unless all addresses of a host are public."""
    if not outgoing.are_public(numbers):
        raise Refused("it leads to an address that is not on the public Internet")


def is_listed(host: str, listed: Iterable[str]) -> bool:
    """Tells whether a host is one of a list; "*.example.org" is every host below that."""
    host = host.rstrip(".").lower()
    for entry in (entry.strip().lower() for entry in listed):
        if host == entry or (entry.startswith("*.") and host.endswith(entry[1:])):
            return bool(entry)
    return False


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """Returns what proves that a call comes from here: HMAC-SHA256 over id, time and body."""
    signed = hmac.new(secret.encode(), f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"{SIGNED_WITH},{base64.b64encode(signed.digest()).decode()}"


def body_of(row: Row) -> bytes:
    """Returns what is posted of a job; the same in every try."""
    ended = datetime.fromtimestamp(row.ended or 0.0, UTC).isoformat()
    said = {"type": f"job.{row.state}", "timestamp": ended, "data": job_view.described(row)}
    return json.dumps(said).encode()


def call(row: Row) -> int:
    """Calls the webhook of a job and returns the status of the answer. Raises Refused for an address that must not be
    called, OSError or HTTPException where no answer comes.
    """
    settings = WebhookSettings.from_opts(shared.opts)
    watch = Watch(SECONDS)
    try:
        address = outgoing.read(row.webhook or "", "webhook")
    except InvalidInput as e:
        raise Refused(str(e)) from e
    check(address, settings)
    check_public(numbers := outgoing.resolve(address, watch.left))
    body, now = body_of(row), int(time.time())
    id = f"job_{row.number}_{int(row.submitted)}"
    headers = {
        "User-Agent": f"Serena/{__version__}",
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(settings.jobs_webhook_secret, id, now, body),
    }
    try:
        status, _, _ = outgoing.ask(address, numbers, watch, MOST_ANSWERED, headers, body)
    except outgoing.TooLarge:
        return http.client.OK
    return status


class Webhooks:
    """The thread that calls webhooks, while there are any to call."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def heard(self, row: Row) -> None:
        """Is told of each job that has changed."""
        if row.webhook and row.state in OVER:
            self.wake()

    def wake(self) -> None:
        """Has what is due called. Starts the thread if it does not run."""
        with self._guard:
            self._changed.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work_off, name="webhooks", daemon=True)
                self._thread.start()

    def _work_off(self) -> None:
        """Calls what is due, and waits for what will be."""
        while True:
            self._changed.clear()
            try:
                rows, now = jobs.journal().store.due(AT_ONCE), time.time()
                due = [row for row in rows if (row.webhook_due or 0.0) <= now]
                calls = [threading.Thread(target=deliver, args=(row,), name="webhook", daemon=True) for row in due]
                for thread in calls:
                    thread.start()
                for thread in calls:
                    thread.join()
            except Exception:
                logger.exception("webhooks are not called")
                rows, due = [], []
            if due:
                continue
            with self._guard:
                if not rows and not self._changed.is_set():
                    self._thread = None
                    return
            self._changed.wait((rows[0].webhook_due or 0.0) - time.time() if rows else None)


def deliver(row: Row) -> None:
    """Calls the webhook of a job, and writes down whether that is done, or when to try again."""
    error, is_final = None, True
    try:
        status = call(row)
        if not http.client.OK <= status < http.client.MULTIPLE_CHOICES:
            error, is_final = f"{row.webhook} answered with status {status}", status == GONE
    except Refused as e:
        error = f"{row.webhook} is not called: {e}"
    except (OSError, http.client.HTTPException, WebuiError) as e:
        error, is_final = f"{row.webhook} does not answer: {e or type(e).__name__}", False
    tries = row.webhook_tries + (error is not None)
    is_final = is_final or tries > len(WAITS)
    due = None if is_final else time.time() + WAITS[tries - 1]
    if error is not None:
        logger.warning("webhook of job %s: %s; %s", row.id, error, "given up" if is_final else "tried again later")
    jobs.journal().store.update(row.number, webhook_due=due, webhook_tries=tries, webhook_error=error)


webhooks = Webhooks()
"""Those of this process."""
jobs.listeners.append(webhooks.heard)
