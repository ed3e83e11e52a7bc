"""face: the one guard in front of every route: requests that other sites make through a user's browser, the login of
--gradio-auth, and bodies of an absurd size.

Routes need no checks of their own, those of extensions included; the REST API's login, --api-auth, is the API's.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from secrets import compare_digest
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import gradio.routes
from fastapi import FastAPI
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from modules import shared
from modules.http_paths import METRICS_PATH, PING_PATH, is_api
from modules.shared_cmd_options import cmd_opts

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
MAX_BODY_BYTES = 1 << 30
UPLOAD_PATH = "/gradio_api/upload"
"""Files that go here are written to disk as they come; all other bodies are held in memory."""

PUBLIC_PATHS = {
    "",  # the subpath itself, where Gradio sends whoever logs out
    "/",
    "/login",
    "/login/",
    "/logout",
    "/theme.css",
    "/gradio_api/theme.css",
    "/gradio_api/app_id",
    "/gradio_api/startup-events",
    "/favicon.ico",
    "/robots.txt",
    "/manifest.json",
    PING_PATH,
}
PUBLIC_PREFIXES = ("/assets/", "/static/", "/svelte/")
"""What the login form is made of, and what tells whether the server runs."""


def is_allowed_origin(origin: str) -> bool:
    """Says whether --cors-allow-origins or --cors-allow-origins-regex let pages of an origin in."""
    listed = (cmd_opts.cors_allow_origins or "").split(",")
    pattern = cmd_opts.cors_allow_origins_regex
    return "*" in listed or origin in listed or bool(pattern and re.fullmatch(pattern, origin))


def is_foreign(method: str, headers: Headers) -> bool:
    """Says whether a browser sends a request that changes something for a page of another origin, not let in by a flag.

    Browsers say so in Sec-Fetch-Site; over plain HTTP to another computer they leave it out, and the origin has to be
    the host that is asked. Programs send neither.
    """
    origin = headers.get("origin")
    if method in SAFE_METHODS or (origin and is_allowed_origin(origin)):
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    hosts = (headers.get("host"), headers.get("x-forwarded-host", "").split(",")[0].strip())
    return origin is not None and (urlsplit(origin).netloc or origin) not in hosts


def page_of(app: FastAPI) -> gradio.routes.App | None:
    """Returns Gradio's own application, which is mounted into ours and knows who has logged in."""
    mounted = (route.app for route in app.routes if isinstance(route, Mount))
    return next((inner for inner in mounted if isinstance(inner, gradio.routes.App)), None)


def keep_logins(old: FastAPI, new: FastAPI) -> None:
    """Has who is logged in stay so when the page is built anew, unless the user or the password is no longer valid."""
    before, after = page_of(old), page_of(new)
    if before is None or after is None or not isinstance(after.auth, dict):
        return
    still_valid = {user for user, password in (before.auth or {}).items() if after.auth.get(user) == password}
    after.cookie_id = before.cookie_id
    after.tokens = {token: user for token, user in before.tokens.items() if user in still_valid}


def basic_login(header: str) -> tuple[str, str] | None:
    """Returns user and password of an Authorization header."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


def logged_in(page: gradio.routes.App, connection: HTTPConnection) -> str | None:
    """Returns the user a request comes from, None for nobody the page knows: by the cookie of its login, or, for
    programs, by HTTP Basic with the same users.
    """
    names = (f"access-token-{page.cookie_id}", f"access-token-unsecure-{page.cookie_id}")
    known = (page.tokens.get(connection.cookies.get(name)) for name in names)
    if (user := next(filter(None, known), None)) is not None:
        return user
    login = basic_login(connection.headers.get("authorization", ""))
    if login is None or not isinstance(page.auth, dict):
        return None
    user, password = login
    is_same = compare_digest(password.encode(), page.auth.get(user, "").encode())
    return user if is_same and user in page.auth else None


def needs_login(path: str) -> bool:
    """Says whether a path is for those only who have logged in to the page."""
    if path == METRICS_PATH:
        return not cmd_opts.api_auth  # a program has one login to send
    return not (path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES) or is_api(path))


class Guard:
    """ASGI middleware that refuses what must not reach a route."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self.app(scope, limited(receive, largest_body(scope)) if scope["type"] == "http" else receive, send)

    def refusal(self, scope: Message) -> JSONResponse | None:
        """Returns the answer to a request that goes no further."""
        connection = HTTPConnection(scope)
        headers = connection.headers
        # The handshake of a websocket is a GET that browsers send across origins without asking.
        method = scope.get("method", "POST")
        if is_foreign(method, headers):
            origin = headers.get("origin", "another site")
            return error(403, f"Request of {origin} refused: --cors-allow-origins={origin} lets its pages in")
        page = page_of(scope["app"])
        is_closed = page is not None and page.auth is not None and needs_login(get_route_path(scope))
        if is_closed:
            user = logged_in(page, connection)
            if user is None:
                return error(401, "Not authenticated")
            connection.state.page_user = user
        length, largest = headers.get("content-length", "0"), largest_body(scope)
        if not length.isdecimal() or int(length) > largest:
            return error(413, too_large(largest))
        return None


def error(status: int, detail: str) -> JSONResponse:
    """Returns an answer in the form of the API's errors."""
    return JSONResponse({"error": "HTTPException", "detail": detail, "body": "", "errors": ""}, status)


def largest_body(scope: Message) -> int:
    """Returns how many bytes a request may have: uploads of the page as many as the setting api_max_upload says."""
    if get_route_path(scope) == UPLOAD_PATH:
        return int(shared.opts.api_max_upload * (1 << 20))
    return MAX_BODY_BYTES


def too_large(largest: int) -> str:
    """Returns what the client of a request of an absurd size is told."""
    return f"The request is larger than {largest >> 20} MB: send fewer or smaller images"


def limited(receive: Receive, largest: int) -> Receive:
    """Counts a body as it comes, for requests that do not tell its length."""
    total = 0

    async def counted() -> Message:
        """Receives the next part of a request's body; raises an HTTPException when all are too large."""
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > largest:
            raise HTTPException(413, too_large(largest))
        return message

    return counted


def install(app: FastAPI) -> None:
    """Puts the guard before the routes of app, those that are still to come included. Other middleware is added after
    it, so that refusals are logged and carry CORS headers, and a browser's question for them needs no login.
    """
    app.add_middleware(Guard)
    if cmd_opts.gradio_auth or cmd_opts.gradio_auth_path:
        warn_of_open_api()


def warn_of_open_api() -> None:
    """Logs that the API has no login of its own."""
    if (cmd_opts.api or cmd_opts.nowebui) and not cmd_opts.api_auth:
        logger.warning("The login of the page does not cover the API: add --api-auth user:password")


def check_files_of(demo: gr.Blocks) -> None:
    """Has Gradio refuse files among the values of components that nobody uploaded; mounted into another application it
    takes any path of the server.
    """
    demo.has_launched = True
