"""engine: what is attached to a loaded model: learned word vectors, an attention kernel, seamless padding.

`model_hijack` is the one instance, under the name extensions know. What it attaches to a model it can take off again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from modules import model_patches, script_callbacks, sd_hijack_optimizations, shared, shared_items
from modules.sd_hijack_clip import EncoderExchange, TextConditionalModel
from modules.sd_hijack_optimizations import AttentionSettings

logger = logging.getLogger(__name__)

optimizers: list[sd_hijack_optimizations.SdOptimization] = []
"""Ways to compute attention that can be used here, the preferred one first."""


def list_optimizers() -> None:
    """Fills `optimizers` from the built-in ones and those of extensions."""
    found = dict.fromkeys([*sd_hijack_optimizations.optimizations, *script_callbacks.list_optimizers_callback()])
    optimizers[:] = sorted((o for o in found if o.is_available()), key=lambda o: o.priority, reverse=True)


def choose_optimizer(title: str) -> sd_hijack_optimizations.SdOptimization | None:
    """Returns the way to compute attention of that title, the preferred one for unknown titles.

    "None" stands for none, "Automatic" for the first one that a command line flag chooses, or else the preferred one.
    """
    if title == "None":
        return None
    if title == "Automatic":
        if shared.cmd_opts.disable_opt_split_attention:
            return None
        matching = [o for o in optimizers if o.cmd_opt and getattr(shared.cmd_opts, o.cmd_opt, False)]
    else:
        matching = [o for o in optimizers if o.title() == title]
    return next(iter([*matching, *optimizers]), None)


class EmbeddingsWithFixes(nn.Module):
    """A token embedding that puts learned vectors where the encoder announced them in `embeddings.fixes`.

    textual_inversion_key: which of an embedding's matrices belongs to this encoder, for models with two.
    """

    def __init__(self, wrapped: nn.Embedding, embeddings: EncoderExchange, textual_inversion_key: str = "clip_l"):
        super().__init__()
        self.wrapped = wrapped
        self.embeddings = embeddings
        self.textual_inversion_key = textual_inversion_key

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Takes token ids (B, T) to vectors (B, T, width). Uses the announced fixes up."""
        batch_fixes, self.embeddings.fixes = self.embeddings.fixes, None
        inputs_embeds = self.wrapped(input_ids)
        if not batch_fixes or not any(batch_fixes):
            return inputs_embeds
        inputs_embeds = inputs_embeds.clone()
        for row, fixes in zip(inputs_embeds, batch_fixes, strict=True):
            for offset, embedding in fixes:
                self._put(row, offset + 1, embedding.vec)
        return inputs_embeds

    def _put(self, row: torch.Tensor, start: int, vec: torch.Tensor | dict[str, torch.Tensor]) -> None:
        """Writes vectors into a row (T, width) from start on, as many as it has places for."""
        vectors = vec[self.textual_inversion_key] if isinstance(vec, dict) else vec
        places = row[start : start + vectors.shape[0]]
        places.copy_(vectors[: places.shape[0]])


@contextmanager
def learned_vectors(model: Any, embeddings: EncoderExchange) -> Iterator[None]:
    """Has the text encoders of a model (WebuiSdModel) put learned vectors where `embeddings` announces them."""
    with ExitStack() as stack:
        stack.callback(setattr, model.cond_stage_model, "hijack", model.cond_stage_model.hijack)
        model.cond_stage_model.hijack = embeddings
        for encoder in model.cond_stage_model.encoders.values():
            stack.callback(setattr, encoder, "hijack", encoder.hijack)
            encoder.hijack = embeddings
            layer, key = encoder.token_embedding(), encoder.embedding_key
            if layer is not None and key is not None:
                stack.callback(encoder.set_token_embedding, layer)
                encoder.set_token_embedding(EmbeddingsWithFixes(layer, embeddings, key))
        yield


class StableDiffusionModelHijack(EncoderExchange):
    """The attachments of the loaded model.

    clip: its text encoder. layers: all its modules. optimization_method: name of the attention in use.
    circular_enabled: whether convolutions wrap around, for seamless images. comments and extra_generation_params
    collect what encoding has to tell the running job.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clip: TextConditionalModel | None = None
        self.layers: list[nn.Module] | None = None
        self.circular_enabled = False
        self._patches: model_patches.ModelPatches | None = None
        self.optimization_method: str | None = None
        self.current_optimizer: sd_hijack_optimizations.SdOptimization | None = None
        self.embedding_db.add_embedding_dir(shared.cmd_opts.embeddings_dir)

    def apply_optimizations(self, option: str | None = None) -> None:
        """Has attention computed as an option of the setting cross_attention_optimization says, or its value."""
        self.undo_optimizations()
        optimizer = choose_optimizer(option or AttentionSettings.from_opts(shared.opts).optimization)
        if optimizer is not None:
            optimizer.apply()
        self.current_optimizer = optimizer
        self.optimization_method = optimizer.name if optimizer else ""
        logger.info("attention: %s", self.optimization_method or "not optimized")

    def undo_optimizations(self) -> None:
        """Has attention computed as torch does by itself."""
        if self.current_optimizer is not None:
            self.current_optimizer.undo()
        self.current_optimizer = None
        self.optimization_method = None

    def hijack(self, m: Any) -> None:
        """Attaches to a model (WebuiSdModel), which may be attached already."""
        encoder = m.cond_stage_model
        m.patches.take("learned vectors")  # its encoders may be others than last time
        m.patches.put("learned vectors", self._learned_vectors)
        if encoder is not self.clip:
            self.apply_circular(False)
        self.clip = encoder
        self.layers = list(m.modules())
        self._patches = m.patches
        self.apply_optimizations()

    def undo_hijack(self, m: Any) -> None:
        """Leaves a model as it was before hijack. Another one may have become the current one since."""
        encoder = m.cond_stage_model
        m.patches.take("learned vectors")
        if encoder is self.clip:
            self.apply_circular(False)
            self.undo_optimizations()
            self.clip = None
            self.layers = None
            self._patches = None

    def _learned_vectors(self, m: Any) -> AbstractContextManager[None]:
        return learned_vectors(m, self)

    def redo_hijack(self, m: Any) -> None:
        """Attaches to a model anew, after a setting about attachments has changed."""
        self.undo_hijack(m)
        self.hijack(m)

    def apply_circular(self, enable: bool) -> None:
        """Sets whether convolutions of the model see its other side beyond an edge, instead of zeros."""
        self.circular_enabled = enable
        if self._patches is None:
            return
        if enable:
            self._patches.put("circular padding", model_patches.circular_padding)
        else:
            self._patches.take("circular padding")

    def clear_comments(self) -> None:
        """Forgets what encoding told the last job."""
        self.comments = []
        self.extra_generation_params = {}

    def get_prompt_lengths(
        self, text: str, cond_stage_model: TextConditionalModel | None = None
    ) -> tuple[int | str, int | str]:
        """Returns (tokens in a prompt, tokens its chunks have room for), for the counter; dashes while no model is
        loaded.

        cond_stage_model: encoder to ask instead of the loaded model's.
        """
        encoder = cond_stage_model or self.clip
        if encoder is None:
            return "-", "-"
        _, token_count = encoder.process_texts([text])
        return token_count, encoder.get_target_prompt_token_count(token_count)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without start and end token. A model must be loaded."""
        return self.clip.tokenize(texts)


model_hijack = StableDiffusionModelHijack()

shared_items.register("cross_attention_optimizations", lambda: [optimizer.title() for optimizer in optimizers])
