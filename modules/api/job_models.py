"""face: what the routes of jobs take and answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from modules.job.row import State


class JobSubmission(BaseModel):
    kind: str = Field(title="Kind", description="txt2img, img2img, extra-single-image, ...: what /sdapi/v1/KIND does.")
    request: dict[str, Any] = Field(title="Request", description="The body of /sdapi/v1/KIND.")
    priority: int = Field(
        default=0, ge=-1000, le=1000, title="Priority", description="Jobs of a higher one come first."
    )
    after_restart: Literal["run", "hold", "drop"] = Field(
        default="run",
        title="After a restart",
        description="What becomes of it if it still waits when the program ends, unless a setting says so for all.",
    )
    webhook: str | None = Field(
        default=None,
        max_length=2000,
        title="Webhook",
        description="An address that is told when the job is over, on one of the hosts of a setting.",
    )


class JobItem(BaseModel):
    id: str = Field(title="Id", description="Also for /internal/progress.")
    kind: str = Field(title="Kind")
    state: State = Field(title="State")
    position: int | None = Field(title="Position", description="1 for the queued job whose turn is next.")
    progress: float = Field(title="Progress", description="Share that is done, from 0 to 1.")
    eta: float | None = Field(title="ETA", description="Seconds left, while it runs.")
    user: str | None = Field(title="User")
    priority: int = Field(title="Priority")
    text: str = Field(title="Text", description="The prompt, and when there are images the parameters of the first.")
    submitted: float = Field(title="Submitted", description="Seconds since the epoch.")
    started: float | None = Field(title="Started", description="Seconds since the epoch.")
    ended: float | None = Field(title="Ended", description="Seconds since the epoch.")
    error: str | None = Field(title="Error", description="Why it failed or was lost.")
    images: int = Field(title="Images", description="How many it has made.")
    infotexts: list[str] = Field(title="Infotexts", description="The parameters of each image.")
    model: str | None = Field(title="Model", description="The checkpoint that made them.")
    webhook: str | None = Field(title="Webhook", description="What is told when it is over.")
    webhook_error: str | None = Field(title="Error of the webhook", description="What the last call came to.")


class JobList(BaseModel):
    jobs: list[JobItem] = Field(title="Jobs", description="The latest first, unless the oldest were asked for.")
    total: int = Field(title="Total", description="How many there are on all pages.")


class JobOrder(BaseModel):
    ids: list[str] = Field(title="Ids", description="Waiting jobs in the order wanted; all others come after them.")


class JobsWaiting(BaseModel):
    ids: list[str] = Field(title="Ids", description="All jobs that wait, the next one first.")
