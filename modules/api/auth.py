"""face: who may use the API: HTTP Basic with the pairs of --api-auth, or such a pair as the key of a client."""

from __future__ import annotations

import base64
from secrets import compare_digest
from typing import Annotated

from fastapi import Depends, Request
from fastapi.exceptions import HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from fastapi.security.utils import get_authorization_scheme_param

from modules import shared
from modules.errors import InvalidInput


def credentials_from(text: str) -> dict[str, str]:
    """Returns {user: password} of "user:password,user:password".

    Raises InvalidInput when an entry does not hold exactly one colon.
    """
    pairs = {}
    for entry in text.split(","):
        parts = entry.split(":")
        if len(parts) != 2:
            raise InvalidInput(
                "--api-auth takes user:password pairs, separated by commas, each with exactly one colon",
                field="api-auth",
            )
        pairs[parts[0].strip()] = parts[1].strip()
    return pairs


class Login(HTTPBasic):
    """HTTP Basic, of users and passwords in any letters, which FastAPI's takes in ASCII alone; clients that know keys
    only send "user:password" as theirs.
    """

    async def __call__(self, request: Request) -> HTTPBasicCredentials | None:
        """Returns the user and the password of a request."""
        scheme, key = get_authorization_scheme_param(request.headers.get("Authorization"))
        if scheme.lower() == "bearer":
            user, _, password = key.partition(":")
            return HTTPBasicCredentials(username=user, password=password)
        user, colon, password = pair_in(key).partition(":")
        if scheme.lower() == "basic" and colon:
            return HTTPBasicCredentials(username=user, password=password)
        return await super().__call__(request)


def pair_in(key: str) -> str:
    """Returns the "user:password" of a login by HTTP Basic, "" if it holds none. Clients write it in UTF-8, as RFC 7617
    has it, or in Latin-1.
    """
    try:
        content = base64.b64decode(key, validate=True)
    except ValueError:
        return ""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def auth_dependencies() -> list:
    """Returns what every route of the API depends on: nothing, or a login when --api-auth is given."""
    if not shared.cmd_opts.api_auth:
        return []
    known = credentials_from(shared.cmd_opts.api_auth)

    def check(request: Request, credentials: Annotated[HTTPBasicCredentials, Depends(Login())]) -> bool:
        """Notes the user; raises an HTTPException unless user and password belong together."""
        # Both comparisons take the same time whether or not the user exists.
        password = known.get(credentials.username, "")
        same = compare_digest(credentials.password.encode(), password.encode())
        if credentials.username in known and same:
            request.state.user = credentials.username
            return True
        raise HTTPException(
            status_code=401, detail="Incorrect username or password", headers={"WWW-Authenticate": "Basic"}
        )

    return [Depends(check)]


def user_of(request: Request) -> str | None:
    """Returns who has logged in for a request, None where no login is asked for."""
    return getattr(request.state, "user", None)
