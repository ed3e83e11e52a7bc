"""engine: prompts to vectors: cuts weighted text into chunks of 75 tokens and encodes them.

TextConditionalModel does what all encoders share, a subclass adds tokenizer and network; those of
`modules.text_encoders` for one. `shared.sd_model.cond_stage_model` is one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch

from modules import devices, prompt_parser, sd_emphasis, sd_hijack_clip_old, shared_items
from modules.errors import InvalidInput
from modules.model_families.sd1 import CLIP_L
from modules.options import Options
from modules.shared import opts
from modules.text_encoders.base import Encoded, TextNetwork
from modules.textual_inversion.textual_inversion import (
    Embedding,
    EmbeddingDatabase,
    EmbeddingSettings,
)

shared_items.register("emphasis_modes", lambda: [option.name for option in sd_emphasis.options])

CHUNK_LENGTH = 75
"""Tokens of text the encoders take at once; with start and end token 77."""


@dataclass(frozen=True)
class EncoderSettings:
    """What the settings say of reading and encoding prompts.

    emphasis: how weights work, a name of sd_emphasis. comma_backtrack: of ChunkBuilder. clip_skip: the layer that is
    read, 1 for the last, also in SDXL's smaller encoder if skips_in_sdxl. is_old: prompts are read as the first
    versions did.
    """

    emphasis: str
    comma_backtrack: int
    clip_skip: int
    is_old: bool
    skips_in_sdxl: bool = False

    @classmethod
    def from_opts(cls, opts: Options) -> EncoderSettings:
        """Reads the settings as they are for the running job."""
        return cls(
            emphasis=opts.emphasis,
            comma_backtrack=opts.comma_padding_backtrack,
            clip_skip=opts.CLIP_stop_at_last_layers,
            is_old=opts.use_old_emphasis_implementation,
            skips_in_sdxl=opts.sdxl_clip_l_skip,
        )


class PromptChunkFix(NamedTuple):
    """An embedding and where its vectors go: offset counts tokens of the chunk, the start token left out."""

    offset: int
    embedding: Embedding


@dataclass
class PromptChunk:
    """77 token ids and their weights once it is closed; the ids at the places of `fixes` are 0."""

    tokens: list[int] = field(default_factory=list)
    multipliers: list[float] = field(default_factory=list)
    fixes: list[PromptChunkFix] = field(default_factory=list)


@dataclass
class EncoderExchange:
    """What text encoders and the rest of the program tell each other.

    embedding_db: word vectors prompts may name. fixes: per text of the batch that is being encoded, which vectors go
    where; read once by the token embedding. comments, extra_generation_params: what encoding adds to the job's
    comments and infotext.
    """

    embedding_db: EmbeddingDatabase = field(default_factory=EmbeddingDatabase)
    fixes: Sequence[Sequence[tuple[int, Embedding]]] | None = None
    comments: list[str] = field(default_factory=list)
    extra_generation_params: dict[str, Any] = field(default_factory=dict)


class ChunkBuilder:
    """Puts the tokens of one text into chunks; a phrase that would be cut may move to the next chunk as a whole.

    comma_backtrack: how many tokens before the end of a full chunk its last comma may stand for what follows it to
    move; 0 for never.
    """

    def __init__(
        self, id_start: int, id_end: int, comma_token: int | None, comma_backtrack: int, length: int = CHUNK_LENGTH
    ):
        self.id_start = id_start
        self.id_end = id_end
        self.comma_token = comma_token
        self.comma_backtrack = comma_backtrack
        self.length = length
        self.chunks: list[PromptChunk] = []
        self.token_count = 0
        self._chunk = PromptChunk()
        self._last_comma: int | None = None

    def close(self) -> None:
        """Ends the chunk, which counts as full."""
        self.token_count += self.length
        self._close()

    def finish(self) -> tuple[list[PromptChunk], int]:
        """Returns (the chunks, at least one; their token count, in which only the last may be less than full)"""
        if self._chunk.tokens or not self.chunks:
            self.token_count += len(self._chunk.tokens)
            self._close()
        return self.chunks, self.token_count

    def _close(self) -> None:
        chunk = self._chunk
        missing = self.length - len(chunk.tokens)
        chunk.tokens = [self.id_start, *chunk.tokens, *[self.id_end] * (missing + 1)]
        chunk.multipliers = [1.0, *chunk.multipliers, *[1.0] * (missing + 1)]
        self.chunks.append(chunk)
        self._chunk = PromptChunk()
        self._last_comma = None

    def make_room(self, token: int) -> None:
        """Sees to it that a token fits into the chunk."""
        used = len(self._chunk.tokens)
        if token == self.comma_token:
            self._last_comma = used
        elif used == self.length and self._last_comma is not None and used - self._last_comma <= self.comma_backtrack:
            self._move_phrase()
        if len(self._chunk.tokens) >= self.length:
            self.close()

    def _move_phrase(self) -> None:
        """Closes the chunk after its last comma and goes on with the rest; places of embeddings stay, as in v1.10.1."""
        start = self._last_comma + 1
        tokens, multipliers = self._chunk.tokens[start:], self._chunk.multipliers[start:]
        del self._chunk.tokens[start:], self._chunk.multipliers[start:]
        self.close()
        self._chunk.tokens, self._chunk.multipliers = tokens, multipliers

    def add_token(self, token: int, weight: float) -> None:
        """Adds a token, for which there must be room."""
        self._chunk.tokens.append(token)
        self._chunk.multipliers.append(weight)

    def add_embedding(self, embedding: Embedding, weight: float) -> None:
        """Adds all vectors of an embedding to one chunk. Raises InvalidInput if it is longer than a chunk."""
        vectors = embedding.vectors
        if vectors > self.length:
            raise InvalidInput(
                f'the embedding "{embedding.name}" has {vectors} vectors, but {self.length} fit: leave it out',
                field="prompt",
            )
        if len(self._chunk.tokens) + vectors > self.length:
            self.close()
        self._chunk.fixes.append(PromptChunkFix(len(self._chunk.tokens), embedding))
        self._chunk.tokens += [0] * vectors
        self._chunk.multipliers += [weight] * vectors


class TextConditionalModel(torch.nn.Module):
    """What text encoders share: texts -> chunks -> weighted vectors. Calling an encoder encodes a list of texts.

    name: among the encoders of its model. tokenizer_name: encoders of the same one cut texts alike. embedding_key: of
    its matrix in embeddings that have several, None if it takes no embeddings.
    """

    name: str = CLIP_L.name
    tokenizer_name: str = CLIP_L.tokenizer
    embedding_key: str | None = CLIP_L.embedding_key

    def __init__(self, hijack: EncoderExchange | None = None):
        super().__init__()
        self.hijack = hijack or EncoderExchange()
        self.chunk_length = CHUNK_LENGTH
        self.comma_token: int | None = None
        self.id_start: int
        self.id_end: int
        self.id_pad: int

    @property
    def encoders(self) -> dict[str, TextConditionalModel]:
        """The encoders it consists of, by name: itself, if it has no others."""
        return {self.name: self}

    @property
    def parts(self) -> list[torch.nn.Module]:
        """The modules it consists of that need not be on a device together: itself, if there are no such."""
        return [self]

    @property
    def settings(self) -> EncoderSettings:
        """What the running job's settings say."""
        return EncoderSettings.from_opts(opts)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without start and end token."""
        raise NotImplementedError

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor | Encoded:
        """Encodes token ids (B, 77) to (B, 77, width); settings may take them from an earlier layer than the last."""
        raise NotImplementedError

    def encode_embedding_init_text(self, init_text: str, nvpt: int) -> torch.Tensor:
        """Returns at most nvpt vectors (tokens, width) of a text before the first layer: where an embedding starts."""
        raise NotImplementedError

    def token_embedding(self) -> torch.nn.Module | None:
        """Returns the layer that turns token ids into vectors, None if nothing can be put in its place."""
        return None

    def set_token_embedding(self, layer: torch.nn.Module) -> None:
        """Puts a layer in the place of the token embedding."""
        raise NotImplementedError

    def empty_chunk(self) -> PromptChunk:
        """Returns what fills up texts that have fewer chunks than others of their batch."""
        (chunk,), _ = self._chunk_builder().finish()
        return chunk

    def get_target_prompt_token_count(self, token_count: int) -> int:
        """Returns how many tokens fit into the chunks a text of token_count tokens takes."""
        return math.ceil(max(token_count, 1) / self.chunk_length) * self.chunk_length

    def tokenize_line(self, line: str) -> tuple[list[PromptChunk], int]:
        """Returns the chunks of a text and the number of tokens in them, those a closed chunk leaves empty included."""
        pieces = [[line, 1.0]] if self.settings.emphasis == "None" else prompt_parser.parse_prompt_attention(line)
        tokenized = self.tokenize([text for text, _ in pieces])
        builder = self._chunk_builder()
        for tokens, (text, weight) in zip(tokenized, pieces, strict=True):
            if text == "BREAK" and weight == -1:
                builder.close()
            else:
                self._add_piece(builder, tokens, weight)
        return builder.finish()

    def _chunk_builder(self) -> ChunkBuilder:
        return ChunkBuilder(
            self.id_start, self.id_end, self.comma_token, self.settings.comma_backtrack, self.chunk_length
        )

    def _add_piece(self, builder: ChunkBuilder, tokens: list[int], weight: float) -> None:
        position = 0
        while position < len(tokens):
            builder.make_room(tokens[position])
            embedding, length = self.find_embedding(tokens, position)
            if embedding is None:
                builder.add_token(tokens[position], weight)
                position += 1
            else:
                builder.add_embedding(embedding, weight)
                position += length

    def find_embedding(self, tokens: list[int], position: int) -> tuple[Embedding | None, int | None]:
        """Returns the embedding whose name stands at a position of a text's tokens, and the length of that name."""
        return self.hijack.embedding_db.find_embedding_at_position(tokens, position, self.tokenizer_name)

    def process_texts(self, texts: Iterable[str]) -> tuple[list[list[PromptChunk]], int]:
        """Returns (chunks of each text, token count of the longest)"""
        lines = list(texts)
        chunked = {line: self.tokenize_line(line) for line in dict.fromkeys(lines)}
        token_count = max((count for _, count in chunked.values()), default=0)
        return [chunked[line][0] for line in lines], token_count

    def forward(self, texts: list[str]) -> torch.Tensor | Encoded:
        """Encodes texts: (B, 77 * chunks, width), and beside it (B, width) if the network sums texts up.

        One chunk after the other is encoded, for all texts at once. The first one sums the text up.
        """
        batch_chunks, _ = self.process_texts(texts)
        used_embeddings: dict[str, Embedding] = {}
        encoded = []
        for i in range(max(map(len, batch_chunks))):
            chunks = [chunks[i] if i < len(chunks) else self.empty_chunk() for chunks in batch_chunks]
            self.hijack.fixes = [chunk.fixes for chunk in chunks]
            used_embeddings.update({fix.embedding.name: fix.embedding for chunk in chunks for fix in chunk.fixes})
            tokens, multipliers = [chunk.tokens for chunk in chunks], [chunk.multipliers for chunk in chunks]
            encoded.append(Encoded.of(self.process_tokens(tokens, multipliers)))
        self._write_infotext(texts, used_embeddings)
        return Encoded(torch.hstack([chunk.tokens for chunk in encoded]), encoded[0].pooled).plain()

    def process_tokens(
        self, remade_batch_tokens: list[list[int]], batch_multipliers: list[list[float]]
    ) -> torch.Tensor | Encoded:
        """Encodes one chunk of each text, B lists of 77 token ids and weights: (B, 77, width), weights applied."""
        tokens = torch.asarray(remade_batch_tokens, device=devices.device)
        tokens = fill_after_end(tokens, self.id_end, self.id_pad)
        encoded = Encoded.of(self.encode_with_transformers(tokens))
        emphasis = sd_emphasis.get_current_option(self.settings.emphasis)()
        emphasis.tokens = remade_batch_tokens
        emphasis.multipliers = torch.asarray(batch_multipliers, device=devices.device)
        emphasis.z = encoded.tokens
        emphasis.after_transformers()
        return Encoded(emphasis.z, encoded.pooled).plain()

    def _write_infotext(self, texts: list[str], used_embeddings: dict[str, Embedding]) -> None:
        params = self.hijack.extra_generation_params
        settings = EmbeddingSettings.from_opts(opts)
        if settings.add_hashes_to_infotext:
            hashes = [
                f"{infotext_name(name)}: {infotext_name(embedding.shorthash)}"
                for name, embedding in used_embeddings.items()
                if embedding.shorthash and (embedding.network is None or settings.add_networks_to_infotext)
            ]
            if hashes:
                earlier = params.get("TI hashes")
                params["TI hashes"] = ", ".join([*hashes, earlier] if earlier else hashes)
        emphasis = self.settings.emphasis
        if emphasis != "Original" and any("(" in text or "[" in text for text in texts):
            params["Emphasis"] = emphasis


def fill_after_end(tokens: torch.Tensor, id_end: int, id_pad: int) -> torch.Tensor:
    """Returns token ids (B, T) with what fills up a text, behind its first end token, replaced."""
    is_end = tokens == id_end
    return tokens.masked_fill((is_end.cumsum(dim=1) > 0) & ~(is_end & (is_end.cumsum(dim=1) == 1)), id_pad)


def infotext_name(name: str) -> str:
    """Returns a name without the characters that separate the entries of "TI hashes"."""
    return name.replace(":", "").replace(",", "")


class FrozenCLIPEmbedderWithCustomWordsBase(TextConditionalModel):
    """An encoder around a network, `wrapped`; with use_old_emphasis_implementation it reads prompts as it once did."""

    token_mults: dict[int, float]
    """Token id -> factor for the running weight of the old implementation."""

    def __init__(self, wrapped: torch.nn.Module, hijack: EncoderExchange | None = None):
        super().__init__(hijack)
        self.wrapped = wrapped

    def forward(self, texts: list[str]) -> torch.Tensor | Encoded:
        """Encodes texts, read as the settings say: (B, 77 * chunks, width)."""
        return sd_hijack_clip_old.forward_old(self, texts) if self.settings.is_old else super().forward(texts)


class FrozenCLIPEmbedderWithCustomWords(FrozenCLIPEmbedderWithCustomWordsBase):
    """An encoder around CLIP: the hidden state its row names, or that of the setting clip skip where it is heeded."""

    wrapped: TextNetwork

    def __init__(self, wrapped: TextNetwork, hijack: EncoderExchange | None = None):
        super().__init__(wrapped, hijack)
        self.name = wrapped.facts.name
        self.tokenizer_name = wrapped.facts.tokenizer
        self.embedding_key = wrapped.facts.embedding_key
        self.tokenizer = wrapped.tokenizer
        self.comma_token = wrapped.comma_token
        self.id_start = wrapped.id_start
        self.id_end = wrapped.id_end
        self.id_pad = wrapped.id_pad

    @cached_property
    def token_mults(self) -> dict[int, float]:
        """Token id -> factor for the running weight of the old implementation."""
        return sd_hijack_clip_old.bracket_weights(self.tokenizer.get_vocab())

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without start and end token."""
        return self.wrapped.tokenize(texts)

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor | Encoded:
        """Encodes token ids (B, 77). Raises InvalidInput if clip skip is more than there are layers."""
        clip_skip = self._clip_skip()
        deepest = self.wrapped.layers + 1
        if clip_skip is not None and clip_skip > deepest:
            raise InvalidInput(
                f"CLIP_stop_at_last_layers (clip skip) is {clip_skip}, but the text encoder of this model has "
                f"{deepest - 1} layers: choose at most {deepest}",
                field="CLIP_stop_at_last_layers",
            )
        encoded = self.wrapped.encode(tokens.to(next(self.wrapped.parameters()).device), clip_skip)
        return encoded.to(tokens.device).plain()

    def _clip_skip(self) -> int | None:
        """Returns the layer the settings want read, None if that of the row is."""
        settings, kind = self.settings, self.wrapped.facts.clip_skip
        return settings.clip_skip if kind == "always" or (kind == "optional" and settings.skips_in_sdxl) else None

    def encode_embedding_init_text(self, init_text: str, nvpt: int) -> torch.Tensor:
        """Returns at most nvpt vectors (tokens, width) of a text before the first layer: where an embedding starts."""
        (ids,) = self.tokenize([init_text])
        layer = self.token_embedding()
        layer = getattr(layer, "wrapped", layer)
        return layer(torch.asarray(ids[:nvpt], dtype=torch.long, device=layer.weight.device))

    def token_embedding(self) -> torch.nn.Module:
        """Returns the layer that turns token ids into vectors."""
        return self.wrapped.token_embedding()

    def set_token_embedding(self, layer: torch.nn.Module) -> None:
        """Puts a layer in the place of the token embedding."""
        self.wrapped.set_token_embedding(layer)
