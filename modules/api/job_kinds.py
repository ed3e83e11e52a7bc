"""face: the table of what can be a job over the API: kind -> what its request looks like, and how it is planned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from modules.api import generate, image_jobs, models
from modules.errors import InvalidInput
from modules.job.journal import Asked
from modules.job.plan import Plan
from modules.job.sources import SOURCES, Source


@dataclass(frozen=True)
class Kind:
    """A kind of job. body: model of the request; prepare: checks one, which may change it, and plans the job."""

    body: type[BaseModel]
    prepare: Callable[[Any], Plan]


SEEDS = ("seed", "subseed")

KINDS: dict[str, Kind] = {
    "txt2img": Kind(models.StableDiffusionTxt2ImgProcessingAPI, generate.prepare_txt2img),
    "img2img": Kind(models.StableDiffusionImg2ImgProcessingAPI, generate.prepare_img2img),
    "extra-single-image": Kind(models.ExtrasSingleImageRequest, image_jobs.plan_extras_single),
    "extra-batch-images": Kind(models.ExtrasBatchImagesRequest, image_jobs.plan_extras_batch),
    "interrogate": Kind(models.InterrogateRequest, image_jobs.plan_interrogation),
}
"""Kind -> what the route /sdapi/v1/KIND takes and does."""


def asked(kind: str, body: BaseModel, user: str | None, **wishes: Any) -> Asked:
    """Returns what is written down of a request, which has to be called before it is prepared."""
    said = body.model_dump(exclude_unset=True)
    return Asked(kind, {"api": said}, text=str(said.get("prompt") or ""), user=user, **wishes)


def body_of(kind: str, body: Any) -> BaseModel:
    """Returns the request of a kind. Raises InvalidInput for an unknown kind, RequestValidationError for a body that
    does not fit.
    """
    if kind not in KINDS:
        raise InvalidInput(f"kind: there is no {kind!r}; give one of {', '.join(KINDS)}", field="kind")
    try:
        return KINDS[kind].body.model_validate(body)
    except ValidationError as e:
        errors = [row | {"loc": ("body", "request", *row["loc"])} for row in e.errors()]
        raise RequestValidationError(errors) from e


def make_plan(kind: str, body: dict[str, Any]) -> Plan:
    """Returns how a job is run that was written down."""
    return KINDS[kind].prepare(body_of(kind, body))


def again(body: dict[str, Any], seeds: Sequence[Any] | None) -> dict[str, Any]:
    """Returns the body of a job that is made again. A script that makes several jobs of one draws its own seeds."""
    body = {key: value for key, value in body.items() if key != "force_task_id"}
    return body | dict(zip(SEEDS, seeds, strict=True)) if seeds and not body.get("script_name") else body


SOURCES["api"] = Source(make_plan, again)
