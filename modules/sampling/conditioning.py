"""pure: what a model is told beside the latent, as one type, and the forms of it that extensions see.

Two forms leave this type. A `Cond` is what a prompt is encoded to, and what callbacks carry: just the tokens, or a dict
of "crossattn", the tokens, and "vector". A mapping for `apply_model` adds the image: {"c_crossattn": [tokens],
"c_concat": [image]}, or {"crossattn": tokens, "vector": vector, "c_concat": [image]}. `Conditioning.of` reads both.

In both forms the vector of SDXL is whole, the pooled text (1280) and six size numbers as sinusoids (6 · 256) in one row
of 2816, because that is what extensions know: they read it by its width and may change any part of it. Sinusoids do
not turn back into numbers, so a U-Net gets what they wrote only if it takes the row as it is: as the class labels of
diffusers' `class_embed_type="projection"`, which computes with the same weights what its "text_time" computes. `size`
keeps the numbers apart while nobody has to see the row, and for U-Nets of "text_time", which embed them themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from modules.errors import WebuiError

Cond = Tensor | dict[str, Tensor]
"""Tokens (B, T, width), or {"crossattn": (B, T, width), "vector": (B, D)}; of a single text without the B."""

PARTS = {
    "crossattn": "tokens",
    "c_crossattn": "tokens",
    "vector": "vector",
    "c_adm": "vector",
    "concat": "concat",
    "c_concat": "concat",
    "time_ids": "size",
}
"""Key in a mapping -> field of `Conditioning`."""

SIZE_WIDTH = 256
"""Sinusoids that one size number becomes."""


class ConditioningError(WebuiError):
    """A conditioning that is incomplete, or has a part that nothing knows or the model has no place for."""


class DictWithShape(dict):
    """A conditioning of several tensors; its shape is that of the tokens, (B, T, width)."""

    def __init__(self, x: Mapping[str, Tensor], shape: Any = None):
        super().__init__(x)

    @property
    def shape(self) -> torch.Size:
        """(B, T, width)."""
        return self["crossattn"].shape


@dataclass(frozen=True)
class Conditioning:
    """What a model is told about a batch. Methods return new ones and leave tensors as they are.

    tokens: text (B, T, width). vector: (B, D), the pooled text, with the size as sinusoids behind it unless `size` has
    it. concat: image (B, C, h, w) that becomes further channels of the latent. size: (B, 6) height and width of the
    original, top and left of the crop, height and width wanted, in pixels: micro-conditioning of Podell et al. 2023
    (arXiv:2307.01952).
    """

    tokens: Tensor
    vector: Tensor | None = None
    concat: Tensor | None = None
    size: Tensor | None = None

    @classmethod
    def of(cls, cond: Conditioning | Cond | Sequence[Tensor] | Mapping[str, Any]) -> Conditioning:
        """Reads any form: tokens, pieces of tokens, a mapping by the keys of PARTS, or such an object itself.

        A part may come in pieces, which are joined side by side; None and no pieces mean that it is not there. Raises
        ConditioningError for a key that is not known, and without tokens.
        """
        if isinstance(cond, cls):
            return cond
        parts: dict[str, Tensor] = {}
        for key, value in (cond if isinstance(cond, Mapping) else {"crossattn": cond}).items():
            if key not in PARTS:
                raise ConditioningError(f"The conditioning has a part {key!r}, but only {', '.join(PARTS)} are known")
            part = side_by_side(value)
            if part is not None and parts.setdefault(PARTS[key], part) is not part:
                raise ConditioningError(f"The conditioning has {PARTS[key]} twice, once as {key!r}")
        if "tokens" not in parts:
            raise ConditioningError("The conditioning has no text: it belongs in 'c_crossattn'")
        return cls(**parts)

    @classmethod
    def stack(cls, conds: Sequence[Cond]) -> Conditioning:
        """Makes a batch of single texts; shorter ones are filled up with their last vector."""
        rows = [cls.of(cond)._each(lambda part: part[None]) for cond in conds]
        length = max(row.length for row in rows)
        return cls.cat([row.fit(length) for row in rows])

    @classmethod
    def cat(cls, conds: Sequence[Conditioning]) -> Conditioning:
        """Joins along the batch. Raises ConditioningError where only some have a part."""
        joined = {}
        for field in fields(cls):
            parts = [getattr(cond, field.name) for cond in conds]
            there = [part for part in parts if part is not None]
            if len(there) not in (0, len(parts)):
                raise ConditioningError(f"Only {len(there)} of {len(parts)} conditionings have {field.name}")
            joined[field.name] = torch.cat(there) if there else None
        return cls(**joined)

    @property
    def batch(self) -> int:
        """Rows."""
        return self.tokens.shape[0]

    @property
    def length(self) -> int:
        """Tokens of each row."""
        return self.tokens.shape[1]

    @property
    def whole_vector(self) -> Tensor | None:
        """The vector with the size behind it: (B, D), or (B, D + 6 · 256) if the size was apart."""
        return with_size(self.vector, self.size)

    @property
    def cond(self) -> Cond:
        """The form that callbacks carry, without the image."""
        vector = self.whole_vector
        return self.tokens if vector is None else DictWithShape({"crossattn": self.tokens, "vector": vector})

    @property
    def mapping(self) -> dict[str, Any]:
        """The form that `apply_model` takes."""
        text = self.cond
        return {
            **(text if isinstance(text, dict) else {"c_crossattn": [text]}),
            **({} if self.concat is None else {"c_concat": [self.concat]}),
        }

    def rows(self, a: int, b: int) -> Conditioning:
        """Returns rows a to b."""
        return self._each(lambda part: part[a:b])

    def split(self, rows: int) -> Iterator[Conditioning]:
        """Yields pieces of a number of rows; the last may be shorter."""
        for start in range(0, self.batch, rows):
            yield self.rows(start, start + rows)

    def pad(self, empty: Conditioning, times: int) -> Conditioning:
        """Appends the tokens of an empty prompt, one row, a number of times."""
        return replace(self, tokens=torch.cat([self.tokens, empty.tokens.repeat(self.batch, times, 1)], dim=1))

    def fit(self, length: int) -> Conditioning:
        """Cuts the tokens to a length, or repeats the last one of each row up to it."""
        tokens, missing = self.tokens, length - self.length
        if missing > 0:
            tokens = torch.cat([tokens, tokens[:, -1:].repeat(1, missing, 1)], dim=1)
        return replace(self, tokens=tokens[:, :length])

    def to(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Conditioning:
        """Casts and moves all parts; the size only moves, as half precision has no place for a width of 2049."""
        cast = self._each(lambda part: part.to(device=device, dtype=dtype))
        return cast if self.size is None else replace(cast, size=self.size.to(device=device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        parts = (self.tokens, self.vector, self.concat, self.size)
        return Conditioning(*(None if part is None else change(part) for part in parts))


def side_by_side(value: Tensor | Sequence[Tensor] | None) -> Tensor | None:
    """Returns one tensor of a part that may come in pieces: along the tokens, the vector or the channels."""
    if value is None or isinstance(value, Tensor):
        return value
    pieces = list(value)
    return torch.cat(pieces, dim=1) if len(pieces) > 1 else next(iter(pieces), None)


def with_size(vector: Tensor | None, size: Tensor | None) -> Tensor | None:
    """Returns (B, D + 6 · 256): the vector with the size as sinusoids behind it; without a size the vector itself."""
    if size is None:
        return vector
    if vector is None:
        raise ConditioningError("The conditioning has a size, 'time_ids', but no vector that it belongs to")
    return torch.cat([vector, sinusoids(size).to(vector)], dim=1)


def sinusoids(values: Tensor, width: int = SIZE_WIDTH) -> Tensor:
    """Returns (B, n · width) for numbers (B, n): cosines, then sines of each at falling frequencies, in float32.

    The embedding of timesteps in Ho et al. 2020 (arXiv:2006.11239), with a longest period of 10000.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=values.device) / half)
    angles = values.float()[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1).flatten(1)
