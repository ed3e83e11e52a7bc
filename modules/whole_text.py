"""engine: prompts to vectors by networks that read a text as a whole: without chunks, weights and learned words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from modules import devices, prompt_parser
from modules.sd_hijack_clip import TextConditionalModel
from modules.text_encoders.base import TextNetwork


class WholeTextEncoder(TextConditionalModel):
    """An encoder around a network that takes texts of any length."""

    def __init__(self, wrapped: TextNetwork):
        super().__init__()
        self.wrapped = wrapped
        self.name = wrapped.facts.name
        self.tokenizer_name = wrapped.facts.tokenizer
        self.embedding_key = None
        self.tokenizer = wrapped.tokenizer
        self.id_end, self.id_pad = wrapped.id_end, wrapped.id_pad

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without the token that ends it."""
        return self.wrapped.tokenize(texts)

    def ids_of(self, text: str) -> list[int]:
        """Returns the token ids of a prompt, its weights and BREAK left out, and the one that ends it."""
        pieces = [[text, 1.0]] if self.settings.emphasis == "None" else prompt_parser.parse_prompt_attention(text)
        words = [piece for piece, weight in pieces if not (piece == "BREAK" and weight == -1)]
        return [token for ids in self.tokenize(words) for token in ids] + [self.id_end]

    def process_texts(self, texts: Iterable[str]) -> tuple[list[list[int]], int]:
        """Returns (tokens of each text, their number in the longest)"""
        lines = [self.ids_of(text) for text in texts]
        return lines, max(map(len, lines), default=0)

    def get_target_prompt_token_count(self, token_count: int) -> int:
        """Returns how many tokens there is room for: as many as there are."""
        return token_count

    def forward(self, texts: Sequence[str], length: int | None = None) -> torch.Tensor:
        """Encodes texts: (B, T, width), all cut or filled up to a length, by default that of the longest."""
        lines, longest = self.process_texts(texts)
        length = length or longest
        rows = [(ids + [self.id_pad] * (length - len(ids)))[:length] for ids in lines]
        device = next(self.wrapped.parameters()).device
        return self.wrapped.encode(torch.asarray(rows, device=device)).tokens.to(devices.device)
