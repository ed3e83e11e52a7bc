"""engine: what a text encoder's network is: token ids in, vectors out, with the tokenizer that belongs to it.

Knows no prompts and no settings: `modules.sd_hijack_clip` cuts texts into chunks and weighs their words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from modules.model_families import Shapes, TextEncoder
from modules.weights import StateDict


class Encoded(NamedTuple):
    """Texts as vectors. tokens: (B, T, width). pooled: (B, width), each text as a whole; None where nothing sums up."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None = None

    @classmethod
    def of(cls, value: torch.Tensor | Encoded) -> Encoded:
        """Returns what `plain` made a tensor of, as it was."""
        return value if isinstance(value, Encoded) else cls(value)

    def to(self, device: torch.device) -> Encoded:
        """Returns the same on a device."""
        return Encoded(self.tokens.to(device), None if self.pooled is None else self.pooled.to(device))

    def plain(self) -> torch.Tensor | Encoded:
        """Returns just the tokens' vectors where there is nothing beside them."""
        return self if self.pooled is not None else self.tokens


class TextNetwork(torch.nn.Module):
    """A network that encodes tokens, and its tokenizer. Subclasses say how.

    facts: its row in the table of families. layers: how many it has. width: of its vectors, pooled_width: of the one
    that sums a text up, 0 where nothing does. id_start, id_end, id_pad: the tokens around a text and after it.
    comma_token: where a long text is best cut; None if there is no such token. is_chunked: whether it takes 75 tokens
    at a time, whose words can be weighed; else texts of any length.
    """

    layers: int
    width: int
    pooled_width: int = 0
    id_start: int
    id_end: int
    id_pad: int
    comma_token: int | None = None
    is_chunked: bool = True

    def __init__(self, facts: TextEncoder, tokenizer: Any):
        super().__init__()
        self.facts = facts
        self.tokenizer = tokenizer

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without start and end token."""
        raise NotImplementedError

    def encode(self, tokens: torch.Tensor, layer: int | None = None) -> Encoded:
        """Encodes token ids (B, T). layer: which to read, 1 for the last; by default that of the row."""
        raise NotImplementedError

    def token_embedding(self) -> torch.nn.Module:
        """Returns the layer that turns token ids (B, T) into vectors (B, T, width)."""
        raise NotImplementedError

    def set_token_embedding(self, layer: torch.nn.Module) -> None:
        """Puts a layer in the place of the token embedding."""
        raise NotImplementedError


@dataclass(frozen=True)
class Kind:
    """How encoders of a kind are made.

    build: makes the network without weights, from its row and the shapes of its file; raises UnreadableShapes if they
    are not of this kind. convert: takes its weights, whose keys have the row's prefix, to the names of its parameters.
    """

    build: Callable[[TextEncoder, Shapes], TextNetwork]
    convert: Callable[[TextEncoder, StateDict], StateDict]
