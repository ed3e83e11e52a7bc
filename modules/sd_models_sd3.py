"""engine: what Stable Diffusion 3 is told: two CLIPs side by side, T5 behind them, and both CLIPs' summaries.

Esser et al. 2024 (arXiv:2403.03206), figure 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from modules.sampling.conditioning import Cond, Conditioning
from modules.sd_hijack_clip import TextConditionalModel, fill_after_end
from modules.text_encoders import Encoded


class SideBySide(torch.nn.ModuleList):
    """Text encoders that read chunks; called with the tokens of a chunk."""

    def forward(self, tokens: torch.Tensor) -> Encoded:
        """Encodes token ids (B, 77) to the vectors and the summaries of all, each side by side."""
        first = self[0]
        fixes = first.hijack.fixes
        parts = []
        for member in self:
            member.hijack.fixes = fixes  # the first encoder has used them up
            parts.append(
                Encoded.of(member.encode_with_transformers(fill_after_end(tokens, first.id_end, member.id_pad)))
            )
        joined = torch.cat([part.tokens for part in parts], dim=-1)
        return Encoded(joined, torch.cat([part.pooled for part in parts], dim=-1))


class JointConditioner(TextConditionalModel):
    """Text encoders that read chunks, whose vectors stand side by side, and one of whole texts behind them.

    width: of the vectors, which are filled up with zeros to it. Without the encoder of whole texts, as many zeros are
    where its vectors would be. Tokens are counted and cut as the first encoder does, but commas mean nothing.
    """

    def __init__(self, encoders: Sequence[TextConditionalModel], width: int):
        super().__init__()
        self.chunked = SideBySide(encoder for encoder in encoders if encoder.wrapped.is_chunked)
        self.whole = next((encoder for encoder in encoders if not encoder.wrapped.is_chunked), None)
        self.width = width
        first = self.chunked[0]
        self.id_start, self.id_end, self.id_pad = first.id_start, first.id_end, first.id_pad

    @property
    def encoders(self) -> dict[str, TextConditionalModel]:
        """The text encoders by name."""
        return {member.name: member for member in (*self.chunked, self.whole) if member is not None}

    @property
    def parts(self) -> list[torch.nn.Module]:
        """What of it is called as one: the encoders of chunks, and that of whole texts."""
        return [part for part in (self.chunked, self.whole) if part is not None]

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without start and end token."""
        return self.chunked[0].tokenize(texts)

    def encode_embedding_init_text(self, init_text: str, nvpt: int) -> torch.Tensor:
        """Returns at most nvpt vectors (tokens, width) before the first layer, of the encoders side by side."""
        return torch.cat([member.encode_embedding_init_text(init_text, nvpt) for member in self.chunked], dim=1)

    def encode_with_transformers(self, tokens: torch.Tensor) -> Encoded:
        """Encodes token ids (B, 77) to (B, 77, width), and both summaries as one vector."""
        encoded = self.chunked(tokens)
        missing = self.width - encoded.tokens.shape[-1]
        return Encoded(F.pad(encoded.tokens, (0, missing)), encoded.pooled)

    def forward(self, texts: list[str]) -> Cond:
        """Encodes texts: {"crossattn": (B, 2 * 77 * chunks, width), "vector": (B, pooled)}."""
        chunked = Encoded.of(super().forward(texts))
        length = chunked.tokens.shape[1]
        whole = torch.zeros_like(chunked.tokens) if self.whole is None else self.whole(texts, length)
        tokens = torch.cat([chunked.tokens, whole.to(chunked.tokens)], dim=1)
        return Conditioning(tokens, vector=chunked.pooled).cond
