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


class JointConditioner(TextConditionalModel):
    """Text encoders that read chunks, whose vectors stand side by side, and one of whole texts behind them.

    width: of the vectors, which are filled up with zeros to it. Without the encoder of whole texts, as many zeros are
    where its vectors would be. Tokens are counted and cut as the first encoder does, but commas mean nothing.
    """

    def __init__(self, encoders: Sequence[TextConditionalModel], width: int):
        super().__init__()
        self.members = torch.nn.ModuleList(encoders)
        self.width = width
        first = self._chunked[0]
        self.id_start, self.id_end, self.id_pad = first.id_start, first.id_end, first.id_pad

    @property
    def encoders(self) -> dict[str, TextConditionalModel]:
        """The text encoders by name."""
        return {member.name: member for member in self.members}

    @property
    def _chunked(self) -> list[TextConditionalModel]:
        return [member for member in self.members if member.wrapped.is_chunked]

    @property
    def _whole(self) -> TextConditionalModel | None:
        return next((member for member in self.members if not member.wrapped.is_chunked), None)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without start and end token."""
        return self._chunked[0].tokenize(texts)

    def encode_embedding_init_text(self, init_text: str, nvpt: int) -> torch.Tensor:
        """Returns at most nvpt vectors (tokens, width) before the first layer, of the encoders side by side."""
        return torch.cat([member.encode_embedding_init_text(init_text, nvpt) for member in self._chunked], dim=1)

    def encode_with_transformers(self, tokens: torch.Tensor) -> Encoded:
        """Encodes token ids (B, 77) to (B, 77, width), and both summaries as one vector."""
        fixes = self.hijack.fixes
        parts = []
        for member in self._chunked:
            self.hijack.fixes = fixes  # the first encoder has used them up
            parts.append(
                Encoded.of(member.encode_with_transformers(fill_after_end(tokens, self.id_end, member.id_pad)))
            )
        joined = torch.cat([part.tokens for part in parts], dim=-1)
        pooled = torch.cat([part.pooled for part in parts], dim=-1)
        return Encoded(F.pad(joined, (0, self.width - joined.shape[-1])), pooled)

    def forward(self, texts: list[str]) -> Cond:
        """Encodes texts: {"crossattn": (B, 2 * 77 * chunks, width), "vector": (B, pooled)}."""
        chunked = Encoded.of(super().forward(texts))
        length = chunked.tokens.shape[1]
        whole = torch.zeros_like(chunked.tokens) if self._whole is None else self._whole(texts, length)
        tokens = torch.cat([chunked.tokens, whole.to(chunked.tokens)], dim=1)
        return Conditioning(tokens, vector=chunked.pooled).cond
