"""engine: prompts as the first versions read them: one chunk of 75 tokens, and brackets that change a running weight.

For the setting use_old_emphasis_implementation, which keeps the images of that time reproducible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from modules.prompt_parser import BRACKET_WEIGHT

if TYPE_CHECKING:
    from modules.sd_hijack_clip import FrozenCLIPEmbedderWithCustomWordsBase
    from modules.text_encoders.base import Encoded
    from modules.textual_inversion.textual_inversion import Embedding


@dataclass
class TokenLine:
    """Tokens of one text, their weights, and which embeddings go where (offset, embedding)."""

    tokens: list[int] = field(default_factory=list)
    multipliers: list[float] = field(default_factory=list)
    fixes: list[tuple[int, Embedding]] = field(default_factory=list)


def bracket_weights(vocabulary: Mapping[str, int]) -> dict[int, float]:
    """Returns token id -> factor for the weight of what follows, for every token whose brackets do not cancel out."""
    weights = {}
    for token, token_id in vocabulary.items():
        weight = 1.0
        for character in token:
            if character in "(]":
                weight *= BRACKET_WEIGHT
            elif character in ")[":
                weight /= BRACKET_WEIGHT
        if weight != 1.0:
            weights[token_id] = weight
    return weights


def read_line(encoder: FrozenCLIPEmbedderWithCustomWordsBase, tokens: list[int]) -> TokenLine:
    """Takes the brackets out of a text's tokens and puts zeros where vectors of embeddings go. Of any length."""
    bracket_factors = {} if encoder.settings.emphasis == "None" else encoder.token_mults
    line = TokenLine()
    weight = 1.0
    position = 0
    while position < len(tokens):
        token = tokens[position]
        embedding, length = encoder.find_embedding(tokens, position)
        if token in bracket_factors:
            weight *= bracket_factors[token]
            position += 1
        elif embedding is None:
            line.tokens.append(token)
            line.multipliers.append(weight)
            position += 1
        else:
            line.fixes.append((len(line.tokens), embedding))
            line.tokens += [0] * embedding.vectors
            line.multipliers += [weight] * embedding.vectors
            position += length
    return line


def process_text_old(encoder: FrozenCLIPEmbedderWithCustomWordsBase, texts: list[str]) -> list[TokenLine]:
    """Makes one chunk of each text: start token, 75 tokens, end token; what is too long is cut off with a comment."""
    length = encoder.chunk_length
    lines = [read_line(encoder, tokens) for tokens in encoder.tokenize(texts)]
    for line in lines:
        excess = line.tokens[length:]
        if excess:
            text = encoder.wrapped.tokenizer.decode(excess)
            encoder.hijack.comments.append(
                f"The prompt is too long, its last {len(excess)} tokens were left out: {text}"
            )
        missing = length - len(line.tokens)
        line.tokens = [encoder.id_start, *line.tokens[:length], *[encoder.id_end] * (max(missing, 0) + 1)]
        line.multipliers = [1.0, *line.multipliers[:length], *[1.0] * (max(missing, 0) + 1)]
    return lines


def forward_old(encoder: FrozenCLIPEmbedderWithCustomWordsBase, texts: list[str]) -> torch.Tensor | Encoded:
    """Encodes texts: (B, 77, width), and (B, width) beside it if the network sums texts up."""
    lines = process_text_old(encoder, texts)
    used = {embedding.name: embedding.checksum() for line in lines for _, embedding in line.fixes}
    if used:
        names = ", ".join(f"{name} [{checksum}]" for name, checksum in used.items())
        encoder.hijack.comments.append(f"Used embeddings: {names}")
    encoder.hijack.fixes = [line.fixes for line in lines]
    return encoder.process_tokens([line.tokens for line in lines], [line.multipliers for line in lines])
