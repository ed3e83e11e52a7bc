"""face: /docs and /redoc, with their scripts from this server: FastAPI's own pages fetch them from another host."""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

ASSETS = Path(fastapi_offline.__file__).parent / "static"
ASSETS_PATH = "/docs-assets"
REDOC_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_IMAGE = "data:,"


def install(app: FastAPI) -> None:
    """Adds both pages and their files to an app that was made with docs_url and redoc_url None."""

    def address(request: Request, path: str) -> str:
        """Returns the address of a path for the client, who may see the server below a path."""
        return request.scope.get("root_path", "").rstrip("/") + path

    def swagger(request: Request) -> HTMLResponse:
        """Serves the documentation that can try requests out."""
        return get_swagger_ui_html(
            openapi_url=address(request, str(app.openapi_url)),
            title=app.title,
            swagger_js_url=address(request, f"{ASSETS_PATH}/swagger-ui-bundle.js"),
            swagger_css_url=address(request, f"{ASSETS_PATH}/swagger-ui.css"),
            swagger_favicon_url=address(request, f"{ASSETS_PATH}/favicon.png"),
        )

    def redoc(request: Request) -> HTMLResponse:
        """Serves the documentation to read."""
        return get_redoc_html(
            openapi_url=address(request, str(app.openapi_url)),
            title=app.title,
            redoc_js_url=address(request, f"{ASSETS_PATH}/redoc.standalone.js"),
            redoc_favicon_url=address(request, f"{ASSETS_PATH}/favicon.png"),
            with_google_fonts=False,
        )

    def redoc_script(request: Request) -> Response:
        """Serves the script of the documentation to read, without the logo it would fetch from elsewhere."""
        script = (ASSETS / "redoc.standalone.js").read_text(encoding="utf8")
        return Response(script.replace(REDOC_LOGO, NO_IMAGE), media_type="text/javascript")

    app.add_route("/docs", swagger, include_in_schema=False)
    app.add_route("/redoc", redoc, include_in_schema=False)
    app.add_route(f"{ASSETS_PATH}/redoc.standalone.js", redoc_script, include_in_schema=False)
    app.mount(ASSETS_PATH, StaticFiles(directory=ASSETS), name="docs-assets")
