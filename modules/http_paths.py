"""face: the paths of the server that more than one part has to know.

The server needs them before the program behind it is imported, so this imports nothing.
"""

from __future__ import annotations

PING_PATH = "/internal/ping"
"""Answers as long as the server runs, before there is a page and without a login."""

METRICS_PATH = "/metrics"
"""Where Prometheus asks by default: under the login of the API or, where that has none, under the page's."""

OWN_PREFIX = "/serena/"
"""The beginning of the paths of the API that v1.10.1 does not have."""

OPENAI_PREFIX = "/v1/"
"""The beginning of the paths that OpenAI's clients ask for, behind the address they are given."""

API_PREFIXES = ("/sdapi/", OWN_PREFIX, OPENAI_PREFIX)
"""The beginnings of the paths of the REST API: they are under its login instead of the page's, and in its log."""


def is_api(path: str) -> bool:
    """Tells whether a path is one of the REST API."""
    return path.startswith(API_PREFIXES)
