"""engine: embeddings inside the files of networks: words that are known while their network is active.

Their keys are `bundle_emb.WORD.string_to_param.*`, or OneTrainer's `bundle_emb.WORD.clip_l` and `.clip_g`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from modules import errors, model_patches
from modules.adapter_files import BUNDLED
from modules.sd_hijack import model_hijack
from modules.textual_inversion.textual_inversion import Embedding, create_embedding_from_data

TERM = ".string_to_param."
KIND = "bundled embeddings"


def read(tensors: Mapping[str, torch.Tensor], network: str) -> dict[str, Embedding]:
    """Returns word -> embedding of those in the file of a network; what is none is reported and left out.

    tensors: of the file; only those under BUNDLED are looked at. network: its name, which stands for the hash in
    infotexts.
    """
    by_word: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for key in tensors:
        if key.startswith(BUNDLED):
            word, part = word_and_part(key.removeprefix(BUNDLED))
            by_word[word][part] = tensors[key]

    found = {}
    for word, data in by_word.items():
        try:
            found[word] = create_embedding_from_data(data, word, filename=f'the embedding "{word}" in {network}')
        except errors.ModelLoadError as e:
            errors.report(f"Error loading bundled embedding: {e}")
        else:
            found[word].network = found[word].shorthash = network
    return found


def word_and_part(key: str) -> tuple[str, str]:
    """Returns the word in a key without BUNDLED, which may have dots, and what its tensor is."""
    if TERM in key:
        word, _, _ = key.partition(TERM)
        return word, TERM
    word, _, part = key.rpartition(".")
    return (word, part) if word else (part, "")


def wish_for(embeddings: Iterable[Embedding]) -> None:
    """Has the running job know these embeddings and no other bundled ones, on whichever model is current."""
    words = tuple(embeddings)
    if words:
        model_patches.wishes().put(KIND, KnownWords(words))
    else:
        model_patches.wishes().take(KIND)


@dataclass(frozen=True)
class KnownWords:
    """The patch that has a model know embeddings. Equal for the same ones."""

    embeddings: tuple[Embedding, ...]

    def __call__(self, model: Any) -> AbstractContextManager[None]:
        """Returns the context in which they are known."""
        return known(self.embeddings, model)


@contextmanager
def known(embeddings: tuple[Embedding, ...], model: Any) -> Iterator[None]:
    """Makes prompts for a model know embeddings inside the block."""
    database = model_hijack.embedding_db
    database.set_bundled(embeddings, model)
    try:
        yield
    finally:
        database.set_bundled((), model)
