"""face: watching and steering the running job.

Steering needs no thread, so that it works even where the handlers of extensions hold all of them.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from modules import progress, shared
from modules.api import models
from modules.api.image_codec import to_json_image
from modules.http_routes import DescribedRoute

router = APIRouter(tags=["progress"], route_class=DescribedRoute)

STARTED_SHARE = 0.01
"""Progress of a job that has begun but not finished a step."""


@router.get("/sdapi/v1/progress", response_model=models.ProgressResponse, summary="Progress of the running job")
def get_progress(req: Annotated[models.ProgressRequest, Depends()]) -> dict:
    """Returns the progress of the running job, with a preview."""
    state = progress.shown_state()
    if state.job_count == 0:
        return {"progress": 0, "eta_relative": 0, "state": state.dict(), "textinfo": state.textinfo}
    share = STARTED_SHARE + state.share()
    current_image = None
    if not req.skip_current_image:
        state.set_current_image()
        current_image = to_json_image(state.current_image) if state.current_image is not None else None
    return {
        "progress": min(share, 1),
        "eta_relative": progress.estimate_seconds_left(share, state) or 0,
        "state": state.dict(),
        "current_image": current_image,
        "textinfo": state.textinfo,
    }


@router.post("/sdapi/v1/interrupt", summary="End the running job, keeping what it has made so far")
async def interrupt() -> dict:
    """Ends the running job; what it has made so far is its result."""
    shared.state.interrupt()
    return {}


@router.post("/sdapi/v1/skip", summary="End the running batch and go on with the next")
async def skip() -> None:
    """Ends the running batch."""
    shared.state.skip()
