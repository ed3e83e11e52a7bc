"""face: the HTTP routes the page itself uses: progress, its files, start-up profile and system information."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import HTTPException
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, Field
from starlette.routing import Mount

from modules import progress, sd_models, shared, sysinfo, timer, ui_files, ui_stylesheet
from modules.http_paths import PING_PATH
from modules.http_routes import DescribedRoute


class LoadedCheckpointResponse(BaseModel):
    hash: str = Field(title="sha256 of the loaded checkpoint", description="Empty while there is none")


class QuicksettingsHint(BaseModel):
    name: str = Field(title="Name of the quicksettings field")
    label: str = Field(title="Label of the quicksettings field")


FILE_DESCRIPTION = (
    "Serves scripts, style sheets, pictures of extensions and results, from the places of `ui_files` only."
)

router = APIRouter(tags=["page"], route_class=DescribedRoute)


@router.get(PING_PATH, summary="Liveness")
async def ping() -> dict[str, Any]:
    """Answers as long as the server runs."""
    return {}


@router.post("/internal/progress", response_model=progress.ProgressResponse, summary="Progress of a task of the page")
def internal_progress(req: progress.ProgressRequest) -> progress.ProgressResponse:
    """Returns the progress of a task of the page."""
    return progress.progressapi(req)


@router.get("/internal/checkpoint", response_model=LoadedCheckpointResponse, summary="The checkpoint that is loaded")
async def loaded_checkpoint() -> dict[str, str]:
    """Returns the user's checkpoint, which the footer of the page names, once a model is loaded."""
    return {"hash": shared.opts.sd_checkpoint_hash if sd_models.model_data.sd_model is not None else ""}


@router.get("/internal/pending-tasks", response_model=progress.PendingTasksResponse, summary="Tasks that wait")
async def pending_tasks() -> dict[str, Any]:
    """Returns the tasks that wait."""
    return progress.get_pending_tasks()


@router.get(
    "/internal/quicksettings-hint", response_model=list[QuicksettingsHint], summary="Keys and labels of settings"
)
def quicksettings_hint() -> list[dict[str, str]]:
    """Lists the keys and labels of the settings."""
    return [{"name": key, "label": info.label} for key, info in list(shared.opts.data_labels.items())]


@router.get("/internal/profile-startup", summary="Where the time of the start went")
def profile_startup() -> JSONResponse:
    """Returns where the time of the start went."""
    return JSONResponse(timer.startup_record)


def sysinfo_response(disposition: str) -> PlainTextResponse:
    """Returns the system information, as a page or as an attachment."""
    headers = {"Content-Disposition": f'{disposition}; filename="{sysinfo.default_filename()}"'}
    return PlainTextResponse(sysinfo.get(), headers=headers)


@router.get("/internal/sysinfo", summary="System information as JSON text")
def download_sysinfo(attachment: str = "") -> PlainTextResponse:
    """Returns the system information as JSON text."""
    return sysinfo_response("attachment" if attachment else "inline")


@router.get("/internal/sysinfo-download", summary="System information as a file")
def download_sysinfo_file() -> PlainTextResponse:
    """Returns the system information as a file."""
    return sysinfo_response("attachment")


CACHED = {"Cache-Control": "private, max-age=604800"}
"""Header of files whose address has a query: the page adds the time of a file, so a changed one has another address."""


@router.get(
    f"/file={ui_stylesheet.FILE_NAME}",
    summary="The style sheet of the page",
    description="Serves the joined files of the program's style sheet.",
)
@router.head(f"/file={ui_stylesheet.FILE_NAME}", include_in_schema=False)
@router.get(f"/gradio_api/file={ui_stylesheet.FILE_NAME}", include_in_schema=False)
@router.head(f"/gradio_api/file={ui_stylesheet.FILE_NAME}", include_in_schema=False)
def style_sheet(request: Request) -> Response:
    """Serves the joined files of the program's style sheet."""
    headers = {"X-Content-Type-Options": "nosniff"} | (CACHED if request.url.query else {})
    return Response(ui_stylesheet.text(), media_type="text/css", headers=headers)


@router.get("/file={path:path}", summary="A file the page may see", description=FILE_DESCRIPTION)
@router.head("/file={path:path}", include_in_schema=False)
@router.get("/gradio_api/file={path:path}", include_in_schema=False)
@router.head("/gradio_api/file={path:path}", include_in_schema=False)
def file(path: str, request: Request) -> Response:
    """Serves scripts, style sheets, images of extensions and results, from the places of `ui_files` only."""
    found = ui_files.find(path)
    if found is None:
        raise HTTPException(403, f"File not allowed: {path}.")
    headers = found.headers() | (CACHED if request.url.query else {})
    return FileResponse(
        found.path,
        headers=headers,
        media_type=found.media_type if found.is_inline else "application/octet-stream",
        content_disposition_type="inline" if found.is_inline else "attachment",
        filename=os.path.basename(found.path),
    )


def setup_ui_api(app: FastAPI) -> None:
    """Adds the routes, before the page at "/" so that it does not swallow them."""
    app.include_router(router)
    mounts = [route for route in app.router.routes if isinstance(route, Mount)]
    for mount in mounts:
        app.router.routes.remove(mount)
        app.router.routes.append(mount)
