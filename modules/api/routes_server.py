"""face: ending and restarting the server; there only with --api-server-stop."""

from __future__ import annotations

from fastapi import APIRouter, Response

from modules import restart, shared
from modules.http_routes import DescribedRoute

router = APIRouter(tags=["server"], route_class=DescribedRoute)


@router.post("/sdapi/v1/server-kill", summary="End the process at once")
def kill_webui() -> None:
    """Ends the process at once."""
    restart.stop_program()


@router.post("/sdapi/v1/server-restart", summary="Restart the process, if something watches over it")
def restart_webui() -> Response:
    """Restarts the process, if something watches over it."""
    if restart.is_restartable():
        restart.restart_program()
    return Response(status_code=501)


@router.post("/sdapi/v1/server-stop", summary="Stop serving")
def stop_webui() -> Response:
    """Stops serving."""
    shared.state.server_command = "stop"
    return Response("Stopping.")
