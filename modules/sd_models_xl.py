"""engine: what SDXL is told: the vectors of its text encoders joined, and behind them numbers about the image's size.

Podell et al. 2023 (arXiv:2307.01952), section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modules.options import OptionValues
from modules.sampling.conditioning import Cond, Conditioning, sinusoids
from modules.sd_hijack_clip import PromptChunk, TextConditionalModel
from modules.shared import opts
from modules.text_encoders import Encoded

DEFAULT_SIZE = 1024
"""Pixels of the width and height that texts without an image are encoded for."""


@dataclass(frozen=True)
class SizeSettings(OptionValues):
    """What the settings say of the images that SDXL is to imitate."""

    sdxl_crop_left: int
    sdxl_crop_top: int
    sdxl_refiner_high_aesthetic_score: float
    sdxl_refiner_low_aesthetic_score: float


def numbers_of(texts: Sequence[str]) -> dict[str, list[float]]:
    """Returns each part of the size conditioning by name. texts: may be an SdConditioning, which knows the size."""
    settings = SizeSettings.from_opts(opts)
    size = [getattr(texts, side, None) or DEFAULT_SIZE for side in ("height", "width")]
    high, low = settings.sdxl_refiner_high_aesthetic_score, settings.sdxl_refiner_low_aesthetic_score
    return {
        "original_size_as_tuple": size,
        "crop_coords_top_left": [settings.sdxl_crop_top, settings.sdxl_crop_left],
        "target_size_as_tuple": size,
        "aesthetic_score": [low if getattr(texts, "is_negative_prompt", False) else high],
    }


class NumberEmbedder(torch.nn.Module):
    """A part of the size conditioning, under the name by which extensions look for it.

    input_key: of SIZE_NUMBERS in `modules.model_families`.
    """

    def __init__(self, input_key: str):
        super().__init__()
        self.input_key = input_key

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Returns (B, n * 256) of numbers (B, n)."""
        return sinusoids(numbers)


class GeneralConditioner(TextConditionalModel):
    """The text encoders of an XL model side by side, then what embeds its numbers: `embedders`.

    Tokens are counted and cut as the first encoder does; all have the same tokenizer.
    """

    def __init__(self, encoders: Sequence[TextConditionalModel], size_keys: Sequence[str]):
        super().__init__()
        self.size_keys = tuple(size_keys)
        for encoder in encoders:
            encoder.input_key = "txt"
        self.embedders = torch.nn.ModuleList([*encoders, *map(NumberEmbedder, size_keys)])
        first = encoders[0]
        self.id_start, self.id_end, self.id_pad = first.id_start, first.id_end, first.id_pad
        self.comma_token = first.comma_token

    @property
    def encoders(self) -> dict[str, TextConditionalModel]:
        """The text encoders by name."""
        return {module.name: module for module in self.embedders if isinstance(module, TextConditionalModel)}

    @property
    def _first(self) -> TextConditionalModel:
        return self.embedders[0]

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without start and end token."""
        return self._first.tokenize(texts)

    def process_texts(self, texts: Sequence[str]) -> tuple[list[list[PromptChunk]], int]:
        """Returns (chunks of each text, token count of the longest)"""
        return self._first.process_texts(texts)

    def encode_embedding_init_text(self, init_text: str, nvpt: int) -> torch.Tensor:
        """Returns at most nvpt vectors (tokens, width) before the first layer, of all encoders joined."""
        vectors = [encoder.encode_embedding_init_text(init_text, nvpt) for encoder in self.encoders.values()]
        return torch.cat(vectors, dim=1)

    def forward(self, texts: list[str]) -> Cond:
        """Encodes texts: {"crossattn": (B, 77 * chunks, width), "vector": (B, pooled + 256 * numbers)}.

        A negative prompt that is empty, in all texts of its schedule, gives zeros in place of text.
        """
        encoded = [Encoded.of(encoder(texts)) for encoder in self.encoders.values()]
        tokens = torch.cat([part.tokens for part in encoded], dim=-1)
        pooled = torch.cat([part.pooled for part in encoded if part.pooled is not None], dim=-1)
        if getattr(texts, "is_negative_prompt", False) and not any(texts):
            tokens, pooled = torch.zeros_like(tokens), torch.zeros_like(pooled)
        numbers = numbers_of(texts)
        size = [number for key in self.size_keys for number in numbers[key]]
        rows = torch.tensor([size] * len(texts), dtype=torch.float32, device=tokens.device)
        return Conditioning(tokens, vector=pooled, size=rows).cond
