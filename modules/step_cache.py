"""engine: what the inner layers of a denoiser have made in one step is used in the next ones too.

From one step to the next, what lies deep in a denoiser changes little. A U-Net computes only its outermost blocks in
most steps (Ma, Fang and Wang 2023: DeepCache, arXiv:2312.00858). Of a transformer the layers are predicted from what
they made before, by diffusers (Liu et al. 2025: TaylorSeer, arXiv:2503.06923).
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
"""So many blocks of a U-Net are computed in each step, at the beginning and at the end."""

FIRST_STEPS = 3
"""So many steps of a transformer are computed whole in the beginning, when most changes."""

PREDICTED = r"transformer_blocks\.\d+\.(attn2?|ff|ff_context)"
"""Names of the layers of a transformer that are predicted."""

MOST_CALLS = 16
"""What was made is kept of so many calls in a step at most."""


def fits(model: Any) -> bool:
    """Says whether a model (WebuiSdModel) has a denoiser with inner layers: a U-Net or a transformer."""
    return kind_for(model.model.diffusion_model) is not None


def kind_for(denoiser: nn.Module) -> type[CachedSteps] | None:
    """Returns what computes some steps of a denoiser in part, None if nothing does."""
    if hasattr(denoiser, "output_blocks"):
        return CachedUnetSteps
    return CachedTransformerSteps if hasattr(denoiser, "transformer_blocks") else None


@contextmanager
def applied(model: Any, interval: int) -> Iterator[None]:
    """Has a model (WebuiSdModel) compute its inner layers in every `interval`-th step, inside the block.

    1 leaves the model as it is, and so it stays if its denoiser has none.
    """
    denoiser = model.model.diffusion_model
    kind = kind_for(denoiser)
    if interval <= 1 or kind is None:
        yield
        return
    if "forward" in vars(denoiser):
        logger.warning(
            "The setting step_cache_interval has no effect: an extension has replaced the denoiser's forward"
        )
        yield
        return
    steps = kind(model, interval)
    denoiser.forward = steps
    try:
        yield
    finally:
        if vars(denoiser).get("forward") is steps:
            del denoiser.forward
        steps.end()  # in case somebody still calls it, it computes all


class CachedSteps:
    """The forward of a denoiser that computes some steps in part.

    step: that of the last call. call: which of the calls in its step it was: prompt and negative prompt may be computed
    one after the other, and some samplers take two looks a step.
    """

    def __init__(self, model: Any, interval: int):
        self.denoiser = model.model.diffusion_model
        self.interval = interval
        self.step = -1
        self.call = 0

    def count(self) -> bool:
        """Counts a call. Returns whether another pass has begun with it."""
        step = shared.state.sampling_step  # counted on the host: a look at the timesteps would wait for the device
        is_another_pass = step < self.step
        self.call = self.call + 1 if step == self.step else 0
        self.step = step
        return is_another_pass

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Returns what the denoiser predicts for latents x (B, C, h, w)."""
        raise NotImplementedError

    def end(self) -> None:
        """Forgets what is kept; whatever is computed from now on is computed whole."""
        raise NotImplementedError


class CachedUnetSteps(CachedSteps):
    """The forward of a U-Net that leaves its inner blocks out.

    kept: what they made in the last deep step, by number of the call inside a step, and its shapes.
    """

    def __init__(self, model: Any, interval: int):
        super().__init__(model, interval)
        self.kept: dict[Any, torch.Tensor] = {}
        self.hook = self.denoiser.output_blocks[-OUTER - 1].register_forward_hook(self.keep)

    def __call__(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor | None = None,
        y: torch.Tensor | None = None,
        **others: Any,
    ) -> torch.Tensor:
        """Returns what the U-Net predicts, see `UNetModel.forward`."""
        if self.count() or (self.call == 0 and self.step % self.interval == 0):
            self.kept.clear()  # another pass, or a deep step: what it does not make anew would be too old
        unet = self.denoiser
        inner = self.kept.get(self.place(x)) if self.step % self.interval else None
        if inner is None:
            return type(unet).forward(unet, x, timesteps, context, y, **others)
        emb = unet.embedding(x, timesteps, y)
        h, skips = x, []
        for block in unet.input_blocks[:OUTER]:
            h = block(h, emb, context)
            skips.append(h)
        h = inner
        for block in unet.output_blocks[-OUTER:]:
            h = block(sd_hijack_unet.th.cat([h, skips.pop()], dim=1), emb, context)
        return unet.out(h)

    def place(self, x: torch.Tensor) -> Any:
        """Returns where the inner blocks' result for latents x is kept."""
        return self.call, len(x), *x.shape[-2:]

    def keep(self, block: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """Keeps what the last inner block returns."""
        if self.interval > 1 and self.call < MOST_CALLS:
            self.kept[self.place(output)] = output

    def end(self) -> None:
        """Forgets what is kept."""
        self.hook.remove()
        self.interval = 1


class CachedTransformerSteps(CachedSteps):
    """The forward of a transformer whose attention and feed-forward layers are predicted in most steps.

    Each call of a step has what it made itself. shapes: of the latents, by number of the call: of others nothing is
    predicted.
    """

    def __init__(self, model: Any, interval: int):
        super().__init__(model, interval)
        from diffusers.hooks import HookRegistry, TaylorSeerCacheConfig, apply_taylorseer_cache

        config = TaylorSeerCacheConfig(
            cache_interval=interval,
            disable_cache_before_step=FIRST_STEPS,
            taylor_factors_dtype=model.placement.dtype,
            cache_identifiers=[PREDICTED],
        )
        self.shapes: dict[int, torch.Size] = {}
        self.hooks = HookRegistry.check_if_exists_or_initialize(self.denoiser)
        apply_taylorseer_cache(self.denoiser, config)
        self.hooks.invalidate_child_registries_cache()

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Returns what the transformer predicts, see `SD3Transformer2DModel.forward`."""
        from diffusers import CacheMixin

        is_another_pass = self.count()
        if is_another_pass or self.call >= MOST_CALLS or self.shapes.get(self.call, x.shape) != x.shape:
            self.hooks.reset_stateful_hooks()
            self.shapes.clear()
        self.shapes[self.call] = x.shape
        transformer = self.denoiser
        with CacheMixin.cache_context(transformer, str(self.call)):
            return type(transformer).forward(transformer, x, *args, **kwargs)

    def end(self) -> None:
        """Takes diffusers' hooks off, and the methods that these leave on the layers in the place of their classes'."""
        from diffusers.hooks.taylorseer_cache import _TAYLORSEER_CACHE_HOOK

        self.hooks.remove_hook(_TAYLORSEER_CACHE_HOOK)
        self.hooks.invalidate_child_registries_cache()
        for layer in self.denoiser.modules():
            if vars(layer).get("forward") == type(layer).forward.__get__(layer):
                del layer.forward
