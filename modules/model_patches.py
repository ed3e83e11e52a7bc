"""engine: changes to a loaded model for the time of a block, undone exactly when it ends, whatever ends it.

A job that switches checkpoints takes its patches along: `kept` puts them on whichever model is current.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from modules import shared
from modules.sd_models_types import WebuiSdModel

Patch = Callable[[WebuiSdModel], AbstractContextManager[None]]


@contextmanager
def circular_padding(model: nn.Module, enabled: bool | None = True) -> Iterator[None]:
    """Inside the block all convolutions of the model continue the picture beyond an edge with its other side, so that
    the result tiles seamlessly. Not enabled: the model stays as it is.
    """
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)] if enabled else []
    modes = [layer.padding_mode for layer in convolutions]
    try:
        for layer in convolutions:
            layer.padding_mode = "circular"
        yield
    finally:
        for layer, mode in zip(convolutions, modes, strict=True):
            layer.padding_mode = mode


@contextmanager
def token_merging(model: WebuiSdModel, ratio: float) -> Iterator[None]:
    """Inside the block, self-attention at the U-Net's full resolution sees a share `ratio` (0..1) of its tokens merged
    into similar ones: Bolya and Hoffman 2023 (arXiv:2303.17604). 0 leaves the model as it is.
    """
    with ExitStack() as stack:
        if ratio > 0:
            for handle in TokenMerging(ratio).attach(model.model.diffusion_model):
                stack.callback(handle.remove)
        yield


class KeptPatches:
    """The patches of the running job, one of each kind, and those of them that are on the current model."""

    def __init__(self) -> None:
        self.wanted: dict[str, Patch] = {}
        self.applied = ExitStack()
        self.lock = threading.RLock()

    def move_to(self, model: WebuiSdModel) -> None:
        """Takes the patches off the model they are on, and puts all that are wanted on this one."""
        with self.lock:
            self.applied.close()
            for patch in self.wanted.values():
                self.applied.enter_context(patch(model))


kept_patches = KeptPatches()


@contextmanager
def kept(kind: str, patch: Patch) -> Iterator[None]:
    """Inside the block, patch(model) is on the current model, and moves with it when another becomes current.

    A patch of the same kind that is on already is replaced until the block ends.
    """
    outer = kept_patches.wanted
    kept_patches.wanted = outer | {kind: patch}
    try:
        kept_patches.move_to(shared.sd_model)
        yield
    finally:
        kept_patches.wanted = outer
        kept_patches.move_to(shared.sd_model)


Tokens = Callable[[torch.Tensor], torch.Tensor]


def unchanged(tokens: torch.Tensor) -> torch.Tensor:
    return tokens


class TokenMerging:
    """Merges before self-attention what it unmerges after it, by hooks on a diffusers U-Net.

    Of every 2x2 square the first token stays; of the others the share `ratio` of all tokens that is most similar to one
    that stays is merged into it. Which ones is decided anew for each transformer block, on what comes into it.
    """

    def __init__(self, ratio: float):
        self.ratio = ratio
        self.size = (0, 0)
        self.merge: Tokens = unchanged
        self.unmerge: Tokens = unchanged

    def attach(self, unet: nn.Module) -> Iterator[RemovableHandle]:
        """Adds the hooks; yields their handles."""
        from diffusers.models.attention import BasicTransformerBlock

        yield unet.register_forward_pre_hook(self.note_size)
        for module in unet.modules():
            if isinstance(module, BasicTransformerBlock):
                yield module.register_forward_pre_hook(self.match)
                yield module.attn1.register_forward_pre_hook(lambda _, args: (self.merge(args[0]), *args[1:]))
                yield module.attn1.register_forward_hook(lambda _, args, output: self.unmerge(output))

    def note_size(self, unet: nn.Module, args: tuple[Any, ...]) -> None:
        """Remembers height and width of the latents (B, C, h, w)."""
        self.size = tuple(args[0].shape[-2:])

    def match(self, block: nn.Module, args: tuple[Any, ...]) -> None:
        """Decides which of the tokens (B, T, C) that come into a transformer block to merge."""
        from tomesd.merge import bipartite_soft_matching_random2d

        tokens = args[0]
        height, width = self.size
        self.merge = self.unmerge = unchanged
        if tokens.shape[1] == height * width:
            count = int(tokens.shape[1] * self.ratio)
            self.merge, self.unmerge = bipartite_soft_matching_random2d(
                tokens, width, height, 2, 2, count, no_rand=True
            )
