"""Small jobs over the REST API, and what their answers hold."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from test.quality import golden

SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 2, "seed": 1, "sampler_name": "Euler"}
FACE = golden.resolved("@file:inputs/face128.png")
MASK = golden.resolved("@file:inputs/mask-rect128.png")


@dataclass
class Result:
    """A good answer. `fields` are the keys of the first infotext's last line, in order."""

    images: list[Image.Image]
    info: dict[str, Any]
    parameters: dict[str, Any]

    @property
    def infotexts(self) -> list[str]:
        return self.info["infotexts"]

    @property
    def fields(self) -> dict[str, str]:
        return fields_of(self.infotexts[0])

    @property
    def pixels(self) -> list[bytes]:
        return [image.tobytes() for image in self.images]


def fields_of(infotext: str) -> dict[str, str]:
    """{key: value} of an infotext's last line; quotes are kept."""
    rows = re.findall(r'\s*([^:,]+?):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)', infotext.splitlines()[-1])
    return {key: value.strip() for key, value in rows}


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def result_of(response: Any) -> Result:
    assert response.status_code == 200, response.text
    body = response.json()
    return Result([decoded(text) for text in body["images"]], json.loads(body["info"]), body["parameters"])


def distance(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of two pictures of one size, 0..255."""
    return float(np.abs(np.asarray(a.convert("RGB"), float) - np.asarray(b.convert("RGB"), float)).mean())
