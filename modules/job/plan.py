"""job: a request that has been checked: what is to run as a job, and how its result becomes images and an answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from modules import images

if TYPE_CHECKING:
    from modules.job.records import ImageRecord
    from modules.job.request import JobRequest


@dataclass
class ResultImage:
    """An image a job has made. file: where it was saved, None where it was not. format: in which it is sent."""

    image: Image.Image
    infotext: str = ""
    file: str | None = None
    format: str = "png"

    @functools.cached_property
    def content(self) -> bytes:
        """The file that is sent, infotext included, encoded once."""
        return images.encode(self.image, self.format)


def with_records(made: Sequence[Image.Image], records: Sequence[ImageRecord], image_format: str) -> list[ResultImage]:
    """Returns images that a job has made, each with its infotext and its file."""
    return [
        ResultImage(image, record.infotext, record.file, image_format)
        for image, record in zip(made, records, strict=True)
    ]


@dataclass(frozen=True)
class Plan:
    """A request that has been checked.

    name: what `state.job` shows. work: runs with the device. answer: makes the body of the response of what `work`
    returns and of its images. images: what `work` returns -> the images that are kept for those who ask for them later.
    task_id: what clients poll for. request: the job as data, where it is more than a function.
    """

    name: str
    work: Callable[[], Any]
    answer: Callable[[Any, list[ResultImage]], Any]
    images: Callable[[Any], list[ResultImage]] = lambda result: []
    task_id: str | None = None
    request: JobRequest | None = None
