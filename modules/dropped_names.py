"""base: names of NumPy, Pillow and huggingface_hub that the versions of v1.10.1 had, and today's have dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from PIL import Image, ImageDraw, ImageFont

NUMPY = {
    "Inf": numpy.inf,
    "Infinity": numpy.inf,
    "NINF": -numpy.inf,
    "NZERO": -0.0,
    "NaN": numpy.nan,
    "PINF": numpy.inf,
    "PZERO": 0.0,
    "RankWarning": numpy.exceptions.RankWarning,
    "VisibleDeprecationWarning": numpy.exceptions.VisibleDeprecationWarning,
    "alltrue": numpy.all,
    "asfarray": lambda a, dtype=numpy.float64: numpy.asarray(a, dtype=dtype),
    "cfloat": numpy.complex128,
    "complex_": numpy.complex128,
    "cumproduct": numpy.cumprod,
    "float_": numpy.float64,
    "in1d": lambda ar1, ar2, **kwargs: numpy.isin(numpy.ravel(ar1), ar2, **kwargs),
    "infty": numpy.inf,
    "longfloat": numpy.longdouble,
    "mat": numpy.asmatrix,
    "product": numpy.prod,
    "round_": numpy.round,
    "row_stack": numpy.vstack,
    "singlecomplex": numpy.complex64,
    "sometrue": numpy.any,
    "string_": numpy.bytes_,
    "trapz": numpy.trapezoid,
    "unicode_": numpy.str_,
}
"""Name of NumPy 1 -> what it was."""

RESAMPLING = {"ANTIALIAS": "LANCZOS", "CUBIC": "BICUBIC", "LINEAR": "BILINEAR"}
"""Name of Pillow 9 for a filter -> the one it has kept."""


def font_size(font: Any, text: str, *args: Any, stroke_width: int = 0, **kwargs: Any) -> tuple[int, int]:
    """Returns the width of a text, and how far below the line's top it reaches, in pixels."""
    left, _, right, bottom = font.getbbox(text, "", *args, stroke_width=stroke_width, **kwargs)
    return right - left, bottom + stroke_width


def bitmap_font_size(font: Any, text: str, *args: Any, **kwargs: Any) -> tuple[int, int]:
    """Returns width and height of a text in a bitmap font, in pixels."""
    return font.getbbox(text)[2:]


def text_size(draw: Any, text: str, font: Any = None, spacing: float = 4, *args: Any, **kwargs: Any) -> tuple[int, int]:
    """Returns width and height of a text of one line or several, in pixels."""
    font = font or draw.getfont()
    lines = text.split("\n")
    height = (
        font.getsize("A", *args, **kwargs)[1] + spacing if len(lines) > 1 else font.getsize(text, *args, **kwargs)[1]
    )
    return max(font.getsize(line, *args, **kwargs)[0] for line in lines), len(lines) * height - spacing * (
        len(lines) > 1
    )


class HfFolder:
    """The user's token for the model hub, in the file where huggingface_hub keeps it."""

    @classmethod
    def path(cls) -> Path:
        """Returns the file of the token."""
        from huggingface_hub import constants

        return Path(constants.HF_TOKEN_PATH)

    @classmethod
    def get_token(cls) -> str | None:
        """Returns the token of the environment or the file; None without one."""
        from huggingface_hub import get_token

        return get_token()

    @classmethod
    def save_token(cls, token: str) -> None:
        """Keeps a token."""
        cls.path().parent.mkdir(parents=True, exist_ok=True)
        cls.path().write_text(token, encoding="utf8")

    @classmethod
    def delete_token(cls) -> None:
        """Forgets the token."""
        cls.path().unlink(missing_ok=True)


def install() -> None:
    """Gives NumPy and Pillow the names back that they have dropped."""
    owners = (
        (numpy, NUMPY),
        (Image, {old: getattr(Image, new) for old, new in RESAMPLING.items()}),
        (ImageFont.FreeTypeFont, {"getsize": font_size}),
        (ImageFont.ImageFont, {"getsize": bitmap_font_size}),
        (ImageDraw.ImageDraw, {"textsize": text_size}),
    )
    for owner, names in owners:
        for name, value in names.items():
            if name not in vars(owner):
                setattr(owner, name, value)
