"""job: a `JobRequest`, or any values of the page, as JSON, images included: to be written down and run another day."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from PIL import Image

from modules.job.request import ImageBatch, JobRequest

IMAGE = "$image"
"""Key of an object that stands for an image: its PNG in base64."""

UPLOAD = "$upload"
"""Key of an object that stands for the path of an uploaded file: its name among those that are kept of a job."""

UPLOAD_NAME = re.compile(r"\d+/[^/\\]+")


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


def without_uploads(value: Any, is_upload: Callable[[str], bool]) -> tuple[Any, dict[str, str]]:
    """Returns JSON in which names stand for the paths of uploaded files, and name -> path of these."""
    uploads: dict[str, str] = {}

    def named(value: Any) -> Any:
        """Returns a value with names."""
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        if isinstance(value, list):
            return [named(item) for item in value]
        if not isinstance(value, str) or not is_upload(value):
            return value
        name = f"{len(uploads)}/{os.path.basename(value)}"
        uploads[name] = value
        return {UPLOAD: name}

    return named(value), uploads


def with_uploads(value: Any, path_of: Callable[[str], str]) -> Any:
    """Returns JSON with the paths of uploaded files. path_of: name -> path of one that is kept."""
    if isinstance(value, list):
        return [with_uploads(item, path_of) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {UPLOAD} and UPLOAD_NAME.fullmatch(str(value[UPLOAD])):
        return path_of(value[UPLOAD])
    return {key: with_uploads(item, path_of) for key, item in value.items()}


def uploads_in(value: Any) -> list[str]:
    """Returns the names of the uploaded files in JSON that `without_uploads` has made."""
    found: list[str] = []
    with_uploads(value, lambda name: found.append(name) or name)
    return found


def _encoded(value: Any) -> Any:
    if isinstance(value, Image.Image):
        file = io.BytesIO()
        value.save(file, "PNG", compress_level=1)
        return {IMAGE: base64.b64encode(file.getvalue()).decode("ascii")}
    raise TypeError(f"a {type(value).__name__} cannot be written down")
