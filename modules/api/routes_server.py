"""face: ending and restarting the server; there only with --api-server-stop."""

from __future__ import annotations

from fastapi import APIRouter, Response

from modules import restart, shared

router = APIRouter(tags=["server"])


@router.post("/sdapi/v1/server-kill", summary="End the process at once")
def kill_webui() -> None:
    restart.stop_program()


@router.post("/sdapi/v1/server-restart", summary="Restart the process, if something watches over it")
def restart_webui() -> Response:
    if restart.is_restartable():
        restart.restart_program()
    return Response(status_code=501)


@router.post("/sdapi/v1/server-stop", summary="Stop serving")
def stop_webui() -> Response:
    shared.state.server_command = "stop"
    return Response("Stopping.")
