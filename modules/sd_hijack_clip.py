"""engine: prompts to vectors: cuts weighted text into chunks of 75 tokens and encodes them.

TextConditionalModel does what all encoders share, a subclass adds tokenizer and network.
`shared.sd_model.cond_stage_model` is one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import ftfy
import torch

from modules import devices, prompt_parser, sd_emphasis, sd_hijack_clip_old
from modules.errors import InvalidInput
from modules.shared import opts
from modules.textual_inversion.textual_inversion import Embedding, EmbeddingDatabase

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer
    from transformers.modeling_outputs import BaseModelOutputWithPooling

CHUNK_LENGTH = 75
"""Tokens of text the encoders take at once; with start and end token 77."""


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
        """(the chunks, at least one; their token count, in which only the last may be less than full)"""
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
        self._chunk.tokens.append(token)
        self._chunk.multipliers.append(weight)

    def add_embedding(self, embedding: Embedding, weight: float) -> None:
        """All vectors of an embedding go into the same chunk. Raises InvalidInput if it is longer than a chunk."""
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
    """What text encoders share: texts -> chunks -> weighted vectors. Calling an encoder encodes a list of texts."""

    def __init__(self, hijack: EncoderExchange | None = None):
        super().__init__()
        self.hijack = hijack or EncoderExchange()
        self.chunk_length = CHUNK_LENGTH
        self.comma_token: int | None = None
        self.id_start: int
        self.id_end: int
        self.id_pad: int

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without start and end token."""
        raise NotImplementedError

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids (B, 77) -> vectors (B, 77, width), which settings may take from an earlier layer than the last."""
        raise NotImplementedError

    def encode_embedding_init_text(self, init_text: str, nvpt: int) -> torch.Tensor:
        """Vectors (tokens, width) of a text before the first layer, at most nvpt: what a new embedding starts from."""
        raise NotImplementedError

    def empty_chunk(self) -> PromptChunk:
        """What fills up texts that have fewer chunks than others of their batch."""
        (chunk,), _ = self._chunk_builder().finish()
        return chunk

    def get_target_prompt_token_count(self, token_count: int) -> int:
        """Tokens that fit into the chunks a text of token_count tokens takes."""
        return math.ceil(max(token_count, 1) / self.chunk_length) * self.chunk_length

    def tokenize_line(self, line: str) -> tuple[list[PromptChunk], int]:
        """The chunks of one text and the number of tokens in them, those a closed chunk leaves empty included."""
        pieces = [[line, 1.0]] if opts.emphasis == "None" else prompt_parser.parse_prompt_attention(line)
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
            self.id_start, self.id_end, self.comma_token, opts.comma_padding_backtrack, self.chunk_length
        )

    def _add_piece(self, builder: ChunkBuilder, tokens: list[int], weight: float) -> None:
        position = 0
        while position < len(tokens):
            builder.make_room(tokens[position])
            embedding, length = self.hijack.embedding_db.find_embedding_at_position(tokens, position)
            if embedding is None:
                builder.add_token(tokens[position], weight)
                position += 1
            else:
                builder.add_embedding(embedding, weight)
                position += length

    def process_texts(self, texts: Iterable[str]) -> tuple[list[list[PromptChunk]], int]:
        """(chunks of each text, token count of the longest)"""
        lines = list(texts)
        chunked = {line: self.tokenize_line(line) for line in dict.fromkeys(lines)}
        token_count = max((count for _, count in chunked.values()), default=0)
        return [chunked[line][0] for line in lines], token_count

    def forward(self, texts: list[str]) -> torch.Tensor:
        """Encodes texts: (B, 77 * chunks, width). One chunk after the other is encoded, for all texts at once."""
        batch_chunks, _ = self.process_texts(texts)
        used_embeddings: dict[str, Embedding] = {}
        encoded = []
        for i in range(max(map(len, batch_chunks))):
            chunks = [chunks[i] if i < len(chunks) else self.empty_chunk() for chunks in batch_chunks]
            self.hijack.fixes = [chunk.fixes for chunk in chunks]
            used_embeddings.update({fix.embedding.name: fix.embedding for chunk in chunks for fix in chunk.fixes})
            encoded.append(
                self.process_tokens([chunk.tokens for chunk in chunks], [chunk.multipliers for chunk in chunks])
            )
        self._write_infotext(texts, used_embeddings)
        return torch.hstack(encoded)

    def process_tokens(
        self, remade_batch_tokens: list[list[int]], batch_multipliers: list[list[float]]
    ) -> torch.Tensor:
        """Encodes one chunk of each text, B lists of 77 token ids and weights: (B, 77, width), weights applied."""
        tokens = torch.asarray(remade_batch_tokens, device=devices.device)
        if self.id_pad != self.id_end:
            for row, ids in zip(tokens, remade_batch_tokens, strict=True):
                row[ids.index(self.id_end) + 1 :] = self.id_pad

        emphasis = sd_emphasis.get_current_option(opts.emphasis)()
        emphasis.tokens = remade_batch_tokens
        emphasis.multipliers = torch.asarray(batch_multipliers, device=devices.device)
        emphasis.z = self.encode_with_transformers(tokens)
        emphasis.after_transformers()
        return emphasis.z

    def _write_infotext(self, texts: list[str], used_embeddings: dict[str, Embedding]) -> None:
        params = self.hijack.extra_generation_params
        if opts.textual_inversion_add_hashes_to_infotext:
            hashes = [f"{infotext_name(name)}: {e.shorthash}" for name, e in used_embeddings.items() if e.shorthash]
            if hashes:
                earlier = params.get("TI hashes")
                params["TI hashes"] = ", ".join([*hashes, earlier] if earlier else hashes)
        if opts.emphasis != "Original" and any("(" in text or "[" in text for text in texts):
            params["Emphasis"] = opts.emphasis


def infotext_name(name: str) -> str:
    """A name without the characters that separate the entries of "TI hashes"."""
    return name.replace(":", "").replace(",", "")


class FrozenCLIPEmbedderWithCustomWordsBase(TextConditionalModel):
    """An encoder around a network, `wrapped`; with use_old_emphasis_implementation it reads prompts as it once did."""

    token_mults: dict[int, float]
    """Token id -> factor for the running weight of the old implementation."""

    def __init__(self, wrapped: torch.nn.Module, hijack: EncoderExchange | None = None):
        super().__init__(hijack)
        self.wrapped = wrapped

    def forward(self, texts: list[str]) -> torch.Tensor:
        if opts.use_old_emphasis_implementation:
            return sd_hijack_clip_old.forward_old(self, texts)
        return super().forward(texts)


class ClipTransformer(torch.nn.Module):
    """A text model under the name that checkpoints and networks for them know: `text_model`."""

    def __init__(self, text_model: CLIPTextModel):
        super().__init__()
        self.text_model = text_model

    def forward(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        return self.text_model(*args, **kwargs)


class FrozenCLIPEmbedder(torch.nn.Module):
    """Network and tokenizer of CLIP; its parameters have their names in SD1 checkpoints, `transformer.text_model.*`."""

    max_length = CHUNK_LENGTH + 2

    def __init__(self, text_model: CLIPTextModel, tokenizer: CLIPTokenizer):
        super().__init__()
        self.transformer = ClipTransformer(text_model)
        self.tokenizer = tokenizer


class FrozenCLIPEmbedderWithCustomWords(FrozenCLIPEmbedderWithCustomWordsBase):
    """The text encoder of SD1: CLIP's last hidden state, or with clip skip an earlier one, after the final norm."""

    def __init__(self, text_model: CLIPTextModel, tokenizer: CLIPTokenizer, hijack: EncoderExchange | None = None):
        super().__init__(FrozenCLIPEmbedder(text_model, tokenizer), hijack)
        self.tokenizer = tokenizer
        self.comma_token = tokenizer.get_vocab().get(",</w>")
        self.id_start = tokenizer.bos_token_id
        self.id_end = tokenizer.eos_token_id
        self.id_pad = self.id_end

    @cached_property
    def token_mults(self) -> dict[int, float]:
        return sd_hijack_clip_old.bracket_weights(self.tokenizer.get_vocab())

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """As CLIP was trained: with broken encodings, curly quotes, full-width letters and HTML entities repaired."""
        # The tokenizer's own lower case, character by character, knows no final sigma.
        repaired = [ftfy.fix_text(text).lower() for text in texts]
        return self.tokenizer(repaired, add_special_tokens=False, verbose=False)["input_ids"]

    def encode_with_transformers(self, tokens: torch.Tensor) -> torch.Tensor:
        clip_skip = opts.CLIP_stop_at_last_layers
        if clip_skip <= 1:
            return self.wrapped.transformer(input_ids=tokens).last_hidden_state

        hidden_states = self.wrapped.transformer(input_ids=tokens, output_hidden_states=True).hidden_states
        if clip_skip > len(hidden_states):
            raise InvalidInput(
                f"CLIP_stop_at_last_layers (clip skip) is {clip_skip}, but the text encoder of this model has "
                f"{len(hidden_states) - 1} layers: choose at most {len(hidden_states)}",
                field="CLIP_stop_at_last_layers",
            )
        return self.wrapped.transformer.text_model.final_layer_norm(hidden_states[-clip_skip])

    def encode_embedding_init_text(self, init_text: str, nvpt: int) -> torch.Tensor:
        (ids,) = self.tokenize([init_text])
        layer = self.wrapped.transformer.text_model.embeddings.token_embedding
        layer = getattr(layer, "wrapped", layer)
        return layer(torch.asarray(ids[:nvpt], dtype=torch.long, device=layer.weight.device))
