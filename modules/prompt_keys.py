"""engine: keys and values of prompts, which attention asks for in every step of a job: computed once on a CPU.

They are a prompt's vectors times weights, so they are the same in all steps. Kept for the time of a job, and used as
long as the vectors are equal and torch counts no change of the weights.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from operator import is_
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from modules import script_callbacks

MOST_TEXTS = 2
"""Of which keys are kept: prompt and negative prompt may be computed one after the other."""

MOST_BYTES = 2**28
"""That are kept of one job; layers beyond compute theirs in each step."""

Pair = tuple[torch.Tensor, torch.Tensor]
Written = list[tuple[StorageWeakRef, int, int]]


@dataclass
class Text:
    """What is kept of a text. vectors: (B, S, C). pairs: by layer keys and values, the weights that made them, and how
    these were written. A model that is dropped is not held.
    """

    vectors: torch.Tensor
    pairs: WeakKeyDictionary[nn.Module, tuple[Pair, list[weakref.ref], Written]] = field(
        default_factory=WeakKeyDictionary
    )

    @property
    def nbytes(self) -> int:
        """What the pairs take."""
        return sum(part.nbytes for pair, *_ in self.pairs.values() for part in pair)


class PromptKeys:
    """The keys and values of a job's prompts."""

    def __init__(self) -> None:
        self._texts: list[Text] = []
        self._last: tuple[torch.Tensor, int, Text] | None = None

    def of(self, attn: Any, context: torch.Tensor, compute: Callable[[Any, torch.Tensor], Pair]) -> Pair:
        """Returns what `compute` makes of a layer and a context (B, S, C): keys and values, (B, heads, S, width) each.

        The layer is one whose weights alone decide it.
        """
        weights = weights_of(attn)
        try:
            pairs, written = self._text(context).pairs, list(map(written_of, weights))
        except RuntimeError:  # of tensors made in inference mode torch counts no changes
            return compute(attn, context)
        found = pairs.get(attn)
        if found is not None and found[2] == written and all(map(is_, (ref() for ref in found[1]), weights)):
            return found[0]
        keys, values = (part.contiguous() for part in compute(attn, context))
        pairs.pop(attn, None)
        if sum(text.nbytes for text in self._texts) + keys.nbytes + values.nbytes <= MOST_BYTES:
            pairs[attn] = (keys, values), list(map(weakref.ref, weights)), written
        return keys, values

    def _text(self, context: torch.Tensor) -> Text:
        """Returns what is kept of a text; all layers of a pass see the same tensor."""
        if self._last is not None and self._last[0] is context and self._last[1] == context._version:
            return self._last[2]
        text = next((text for text in self._texts if torch.equal(text.vectors, context)), None)
        if text is None:
            text = Text(context.clone())
            self._texts = [*self._texts, text][-MOST_TEXTS:]
        self._last = context, context._version, text
        return text


def weights_of(attn: Any) -> list[torch.Tensor]:
    """Returns the weights by which a layer makes keys and values."""
    weights = (*attn.to_k._parameters.values(), *attn.to_v._parameters.values())
    return [weight for weight in weights if weight is not None]


def written_of(weight: torch.Tensor) -> tuple[StorageWeakRef, int, int]:
    """Returns in which memory a weight lies, where, and how often it was written. An address alone would not do: what
    lay there may be gone, and something else be in its place.
    """
    return StorageWeakRef(weight.untyped_storage()), weight.data_ptr(), weight._version


of_job: ContextVar[PromptKeys | None] = ContextVar("prompt_keys_of_job", default=None)
in_use: ContextVar[PromptKeys | None] = ContextVar("prompt_keys_in_use", default=None)
"""What attention asks, of its own network, as long as that is what the program made of it."""


@contextmanager
def kept() -> Iterator[None]:
    """Keeps keys and values of prompts inside the block, for as long as a job runs."""
    token = of_job.set(PromptKeys())
    try:
        yield
    finally:
        of_job.reset(token)


STEP_CALLBACKS = ("cfg_denoiser", "cfg_denoised", "cfg_after_cfg")
"""Callbacks by which extensions work between two steps, and may do to weights what torch does not count."""


@contextmanager
def used() -> Iterator[None]:
    """Has attention use what is kept inside the block, one call of a network, if no extension works between steps."""
    token = in_use.set(None if any(map(script_callbacks.ordered_callbacks, STEP_CALLBACKS)) else of_job.get())
    try:
        yield
    finally:
        in_use.reset(token)
