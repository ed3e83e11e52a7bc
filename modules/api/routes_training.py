"""face: creating and training embeddings and hypernetworks: not part of the program yet, and the routes say so."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from modules.api import models
from modules.errors import NotSupported
from modules.http_routes import DescribedRoute

router = APIRouter(tags=["training"], route_class=DescribedRoute)

ROUTES = {
    "/sdapi/v1/create/embedding": (models.CreateResponse, "Create an empty embedding"),
    "/sdapi/v1/create/hypernetwork": (models.CreateResponse, "Create an empty hypernetwork"),
    "/sdapi/v1/train/embedding": (models.TrainResponse, "Train an embedding"),
    "/sdapi/v1/train/hypernetwork": (models.TrainResponse, "Train a hypernetwork"),
}


def not_available(args: Annotated[dict[str, Any], Body()]) -> None:
    """Answers 501."""
    raise NotSupported("Creating and training embeddings and hypernetworks is not available in this version.")


for path, (model, summary) in ROUTES.items():
    router.add_api_route(
        path, not_available, methods=["POST"], response_model=model, summary=summary, description="Answers 501."
    )
