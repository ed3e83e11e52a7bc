"""job: a `JobRequest`, or any values of the page, as JSON, images included: to be written down and run another day."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, fields
from typing import Any

from PIL import Image

from modules.job.request import ImageBatch, JobRequest

IMAGE = "$image"
"""Key of an object that stands for an image: its PNG in base64."""


def to_json(request: JobRequest) -> dict[str, Any] | None:
    """Returns a request as JSON holds it; None if a script has a value that cannot be written down."""
    values = {field.name: getattr(request, field.name) for field in fields(request)}
    values["batch"] = None if request.batch is None else asdict(request.batch)
    return plain(values)


def from_json(values: dict[str, Any]) -> JobRequest:
    """Returns the request that `to_json` has written. Raises TypeError for one of another version of the program."""
    values = restored(values)
    batch = values.pop("batch")
    return JobRequest(**values, batch=None if batch is None else ImageBatch(**batch))


def plain(values: Any) -> Any:
    """Returns values as JSON holds them; None if one of them cannot be written down."""
    try:
        return json.loads(json.dumps(values, default=_encoded))
    except (TypeError, ValueError):
        return None


def restored(value: Any) -> Any:
    """Returns the values that `plain` has written."""
    if isinstance(value, list):
        return [restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {IMAGE}:
        return Image.open(io.BytesIO(base64.b64decode(value[IMAGE])))
    return {key: restored(item) for key, item in value.items()}


def _encoded(value: Any) -> Any:
    if isinstance(value, Image.Image):
        file = io.BytesIO()
        value.save(file, "PNG", compress_level=1)
        return {IMAGE: base64.b64encode(file.getvalue()).decode("ascii")}
    raise TypeError(f"a {type(value).__name__} cannot be written down")
