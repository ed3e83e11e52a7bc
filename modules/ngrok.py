"""face: a public address for the server through ngrok. Needs the package ngrok."""

from __future__ import annotations

import logging
from typing import Any

from modules.errors import NotSupported, WebuiError

logger = logging.getLogger(__name__)


def connect(token: str | None, port: int, options: dict[str, Any]) -> str:
    """Opens a tunnel to a port of this computer and returns its address.

    token: of ngrok, with an optional login for the page as token:user:password. options: passed to ngrok.forward.
    """
    try:
        import ngrok
    except ImportError as e:
        raise NotSupported("--ngrok needs the package ngrok: pip install ngrok", "ngrok") from e

    options = dict(options)
    if token is None or token in ("None", ""):
        options["authtoken_from_env"] = True
    else:
        options["authtoken"], _, login = token.partition(":")
        if login:
            options["basic_auth"] = login
    try:
        return ngrok.forward(f"127.0.0.1:{port}", **options).url()
    except Exception as e:  # the package raises exceptions of many kinds
        raise WebuiError(f"ngrok refused the tunnel: {e}. Check the token.", "ngrok") from e
