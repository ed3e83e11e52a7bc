"""face: what the routes of API and page have in common."""

from __future__ import annotations

from typing import Any

from fastapi.routing import APIRoute

NOTHING = "\f"
"""A description of which nothing is shown: FastAPI takes the docstring for an empty one, and cuts at a form feed."""


class DescribedRoute(APIRoute):
    """A route of a router, described in /docs as it is declared: docstrings are for readers of the code."""

    def __init__(self, path: str, endpoint: Any, *, description: str | None = None, **options: Any):
        super().__init__(path, endpoint, description=description, **options)
        self.description = description or NOTHING
