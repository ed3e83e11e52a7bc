"""engine: what the inner blocks of a U-Net have made in one step is used in the next ones too.

Ma, Fang and Wang 2023 (DeepCache, arXiv:2312.00858): from one step to the next, what lies deep in a U-Net changes
little. So in most steps only the outermost blocks are computed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from modules import sd_hijack_unet, shared

logger = logging.getLogger(__name__)

OUTER = 1
"""So many blocks are computed in each step, at the beginning and at the end."""

MOST_CALLS = 16
"""The inner blocks' result is kept of so many calls in a step at most."""


def fits(model: Any) -> bool:
    """Says whether a model (WebuiSdModel) has a denoiser with inner blocks: a U-Net."""
    return hasattr(model.model.diffusion_model, "output_blocks")


@contextmanager
def applied(model: Any, interval: int) -> Iterator[None]:
    """Has a model (WebuiSdModel) compute its inner blocks in every `interval`-th step, inside the block.

    1 leaves the model as it is, and so it stays if it is no U-Net.
    """
    if interval <= 1 or not fits(model):
        yield
        return
    unet = model.model.diffusion_model
    if "forward" in vars(unet):
        logger.warning("The setting step_cache_interval has no effect: an extension has replaced the U-Net's forward")
        yield
        return
    steps = CachedSteps(unet, interval)
    handle = unet.output_blocks[-OUTER - 1].register_forward_hook(steps.keep)
    unet.forward = steps
    try:
        yield
    finally:
        handle.remove()
        if vars(unet).get("forward") is steps:
            del unet.forward
        steps.interval = 1  # in case somebody still calls it


class CachedSteps:
    """The forward of a U-Net in which some steps are shallow.

    kept: what the inner blocks made in the last deep step, by number of the call inside a step, and its shapes: prompt
    and negative prompt may be computed one after the other, and some samplers take two looks a step.
    """

    def __init__(self, unet: nn.Module, interval: int):
        self.unet = unet
        self.interval = interval
        self.kept: dict[Any, torch.Tensor] = {}
        self.step = -1
        self.call = 0

    def __call__(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor | None = None,
        y: torch.Tensor | None = None,
        **others: Any,
    ) -> torch.Tensor:
        """Returns what the U-Net predicts, see `UNetModel.forward`."""
        step = shared.state.sampling_step  # counted on the host: a look at the timesteps would wait for the device
        if step < self.step or (step != self.step and step % self.interval == 0):
            self.kept.clear()  # another pass, or a deep step: what it does not make anew would be too old
        self.call = self.call + 1 if step == self.step else 0
        self.step = step
        inner = self.kept.get(self.place(x)) if step % self.interval else None
        if inner is None:
            return type(self.unet).forward(self.unet, x, timesteps, context, y, **others)
        emb = self.unet.embedding(x, timesteps, y)
        h, skips = x, []
        for block in self.unet.input_blocks[:OUTER]:
            h = block(h, emb, context)
            skips.append(h)
        h = inner
        for block in self.unet.output_blocks[-OUTER:]:
            h = block(sd_hijack_unet.th.cat([h, skips.pop()], dim=1), emb, context)
        return self.unet.out(h)

    def place(self, x: torch.Tensor) -> Any:
        """Returns where the inner blocks' result for latents x is kept."""
        return self.call, len(x), *x.shape[-2:]

    def keep(self, block: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """Keeps what the last inner block returns."""
        if self.interval > 1 and self.call < MOST_CALLS:
            self.kept[self.place(output)] = output
