"""engine: what a kind of denoiser is: how it is built, what it reads, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from modules.model_families import Family, Shapes
from modules.sampling.conditioning import ConditioningError
from modules.weights import StateDict

Convert = Callable[[StateDict], StateDict]
"""Takes weights from their keys in a file to the names of a network's parameters."""


@dataclass(frozen=True)
class Told:
    """What a denoiser is told beside latent and time. text: (B, T, width). vector: (B, D), size: (B, 6), see
    `modules.sampling.conditioning.Conditioning`.
    """

    text: torch.Tensor | None = None
    vector: torch.Tensor | None = None
    size: torch.Tensor | None = None

    def check(self, needed: Sequence[str], taken: Sequence[str]) -> None:
        """Raises ConditioningError for a part that is missing, or there although nothing takes it."""
        for field in fields(self):
            part, name = getattr(self, field.name), PART_NAMES.get(field.name)
            if name is not None and part is None and field.name in needed:
                raise ConditioningError(f"The model needs a part that the conditioning does not have: {name!r}")
            if name is not None and part is not None and field.name not in taken:
                raise ConditioningError(f"The conditioning has a part that the model has no place for: {name!r}")


PART_NAMES = {"vector": "vector", "size": "time_ids"}
"""Field of `Told` -> what a conditioning calls it."""


@dataclass(frozen=True)
class Reads:
    """text: channels of the text's vectors. vector: of the vector beside it, None if it takes none."""

    text: int
    vector: int | None = None


@dataclass(frozen=True)
class Kind:
    """How denoisers of a kind are made and called.

    build: makes the network of a family without weights, from the shapes of its file, with what takes weights to its
    parameters; raises UnreadableShapes. reads: what a network takes, from its configuration. lay_out: returns a network
    as extensions know it. arguments: what one that is laid out is called with behind its latents (B, C, h, w), by place
    and by name, given it, the times (B,) and the rest. It returns its raw output (B, C, h, w), or that in a tuple.
    turned: paths of the layers of a network that have the halves of their rows the other way round in the original
    layout.
    """

    build: Callable[[Family, Shapes], tuple[torch.nn.Module, Convert]]
    reads: Callable[[Mapping[str, Any]], Reads]
    lay_out: Callable[[torch.nn.Module], torch.nn.Module]
    arguments: Callable[[torch.nn.Module, torch.Tensor, Told], tuple[tuple[Any, ...], dict[str, Any]]]
    turned: Callable[[torch.nn.Module], Collection[str]] = lambda network: ()
