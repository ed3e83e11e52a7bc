"""engine: how a network that looks at an image is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from modules.model_families import ImageReader, Shapes
from modules.weights import StateDict


@dataclass(frozen=True)
class Kind:
    """How networks of a kind are made.

    build: makes one without weights, from its row and the shapes of its file; raises UnreadableShapes. convert: takes
    its weights, whose keys have the row's prefix, to the names of its parameters.
    """

    build: Callable[[ImageReader, Shapes], torch.nn.Module]
    convert: Callable[[ImageReader, StateDict], StateDict]
