"""engine: `ldm.modules.attention`: diffusers' transformers, called as the original's are.

A layer is called as `attn(x, context=context)`, a block as `block(x, context=context)` and a transformer as
`transformer(x, context)`, whoever calls: these classes translate diffusers' own calls. So hooks on a layer, and a
`forward` that somebody puts in its place or in its class's, see the arguments that they were written for, and what they
return is what diffusers goes on with.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models import attention, attention_processor
from diffusers.models.attention import GEGLU
from diffusers.models.transformers import transformer_2d
from torch import nn

from modules import cpu_layers
from modules.sd_hijack_optimizations import AttentionProcessor

__all__ = [
    "GEGLU",
    "BasicTransformerBlock",
    "CrossAttention",
    "FeedForward",
    "MemoryEfficientCrossAttention",
    "SpatialTransformer",
    "adopt",
]


def given(**arguments: Any) -> dict[str, Any]:
    """Returns the arguments that are not None: diffusers names all of them, what it calls here knows few."""
    return {name: value for name, value in arguments.items() if value is not None}


class CrossAttention(attention_processor.Attention):
    """Attention of tokens x (B, T, C) to a context (B, S, C'), or to themselves."""

    def __init__(
        self,
        query_dim: int,
        context_dim: int | None = None,
        heads: int = 8,
        dim_head: int = 64,
        dropout: float = 0.0,
        **_: Any,
    ):
        super().__init__(query_dim, context_dim, heads, dim_head=dim_head, dropout=dropout)
        self.set_processor(AttentionProcessor())
        self.adopted()

    def adopted(self) -> None:
        """Makes of a layer of diffusers one that has been built here."""
        self.to_out = nn.Sequential(*self.to_out)

    def __call__(
        self,
        x: torch.Tensor,
        context: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        *,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Calls the layer as the original is called."""
        context = encoder_hidden_states if context is None else context
        mask = attention_mask if mask is None else mask
        return super().__call__(x, context=context, **given(mask=mask, **kwargs))

    def forward(
        self,
        x: torch.Tensor,
        context: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Returns what the layer makes of x, in its shape."""
        return self.processor(self, x, encoder_hidden_states=context, attention_mask=mask, **kwargs)


MemoryEfficientCrossAttention = CrossAttention
"""The original has another class for xformers. Here the kernel is chosen below: see `modules.attention`."""


class FeedForward(attention.FeedForward):
    """What a transformer does to each token by itself."""

    def __init__(
        self, dim: int, dim_out: int | None = None, mult: int = 4, glu: bool = False, dropout: float = 0.0, **_: Any
    ):
        super().__init__(dim, dim_out, mult, dropout, activation_fn="geglu" if glu else "gelu")
        self.adopted()

    def adopted(self) -> None:
        """Makes of a layer of diffusers one that has been built here."""
        self.net = nn.Sequential(*self.net)


class BasicTransformerBlock(attention.BasicTransformerBlock):
    """Attention of tokens to themselves (attn1), to a context (attn2), and a feed-forward layer (ff)."""

    def __init__(
        self,
        dim: int,
        n_heads: int,
        d_head: int,
        dropout: float = 0.0,
        context_dim: int | None = None,
        gated_ff: bool = True,
        disable_self_attn: bool = False,
        **_: Any,
    ):
        super().__init__(
            dim,
            n_heads,
            d_head,
            dropout,
            context_dim,
            activation_fn="geglu" if gated_ff else "gelu",
            only_cross_attention=disable_self_attn,
        )
        adopt(self, processor=AttentionProcessor())

    @property
    def disable_self_attn(self) -> bool:
        """Whether attn1 attends to the context too."""
        return self.only_cross_attention

    def __call__(
        self,
        x: torch.Tensor,
        context: torch.Tensor | None = None,
        *,
        encoder_hidden_states: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Calls the block as the original is called."""
        return super().__call__(x, context=encoder_hidden_states if context is None else context, **given(**kwargs))

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Returns what the block makes of tokens x (B, T, C), in their shape."""
        return self._forward(x, context=context, **kwargs)

    def _forward(self, x: torch.Tensor, context: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        return super().forward(x, encoder_hidden_states=context, **kwargs)


class SpatialTransformer(transformer_2d.Transformer2DModel):
    """Transformer blocks over the pixels of a map x (B, C, h, w)."""

    def __init__(
        self,
        in_channels: int,
        n_heads: int,
        d_head: int,
        depth: int = 1,
        dropout: float = 0.0,
        context_dim: int | None = None,
        disable_self_attn: bool = False,
        use_linear: bool = False,
        **_: Any,
    ):
        width = context_dim[0] if isinstance(context_dim, list | tuple) else context_dim
        super().__init__(
            num_attention_heads=n_heads,
            attention_head_dim=d_head,
            in_channels=in_channels,
            num_layers=depth,
            dropout=dropout,
            cross_attention_dim=width,
            only_cross_attention=disable_self_attn,
            use_linear_projection=use_linear,
        )
        adopt(self, processor=AttentionProcessor())

    @property
    def use_linear(self) -> bool:
        """Whether the projections in and out are linear layers, not convolutions."""
        return self.use_linear_projection

    def __call__(
        self,
        x: torch.Tensor,
        context: torch.Tensor | None = None,
        *,
        encoder_hidden_states: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Calls the transformer as the original is called; diffusers, which names return_dict, gets a tuple."""
        out = super().__call__(x, encoder_hidden_states if context is None else context, **given(**kwargs))
        return out if return_dict is None else (out,)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Returns what the transformer makes of x, in its shape."""
        return super().forward(x, encoder_hidden_states=context, return_dict=False, **kwargs)[0]

    def _operate_on_continuous_inputs(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Returns the tokens (B, h * w, C') of a map (B, C, h, w), and C'."""
        if not is_projection(self.proj_in, hidden_states):
            return super()._operate_on_continuous_inputs(hidden_states)
        tokens = self.norm(hidden_states).flatten(2).transpose(1, 2).contiguous()
        tokens = cpu_layers.linear(tokens, self.proj_in.weight.flatten(1), self.proj_in.bias)
        tokens = cpu_layers.shaped(tokens, tokens.shape)  # compiled blocks come next, for which a view is another input
        return tokens, tokens.shape[2]

    def _get_output_for_continuous_inputs(
        self, hidden_states: torch.Tensor, residual: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """Returns what tokens (B, h * w, C') add to a map (B, C, h, w), added to it."""
        if not is_projection(self.proj_out, hidden_states):
            return super()._get_output_for_continuous_inputs(hidden_states, residual=residual, **kwargs)
        tokens = cpu_layers.linear(hidden_states, self.proj_out.weight.flatten(1), self.proj_out.bias)
        return tokens.transpose(1, 2).contiguous().view(residual.shape) + residual


def is_projection(layer: nn.Module, x: torch.Tensor) -> bool:
    """Returns whether a layer is a convolution of one pixel that on a CPU is faster as a product with tokens, which
    then need not be a map in between.
    """
    return (
        isinstance(layer, nn.Conv2d)
        and cpu_layers.fits(x, layer.weight)
        and cpu_layers.is_untouched(layer)
        and layer.padding_mode == "zeros"
        and cpu_layers.takes_bias(layer.weight, layer.bias)
        and layer.weight.is_contiguous()
        and layer.groups == 1
        and (layer.kernel_size, layer.stride, layer.padding) == ((1, 1), (1, 1), (0, 0))
    )


ADOPTED: dict[type, type] = {
    attention_processor.Attention: CrossAttention,
    attention.FeedForward: FeedForward,
    attention.BasicTransformerBlock: BasicTransformerBlock,
    transformer_2d.Transformer2DModel: SpatialTransformer,
}
"""diffusers' class -> ours for the same layer."""


def adopt(network: nn.Module, processor: AttentionProcessor | None = None) -> None:
    """Gives the transformers in a network of diffusers the classes above. They stay the objects that they are.

    processor: computes their attention from now on, None for the one that they have.
    """
    for module in list(network.modules()):
        if type(module) in ADOPTED:
            module.__class__ = ADOPTED[type(module)]
            if isinstance(module, CrossAttention | FeedForward):
                module.adopted()
        if processor is not None and isinstance(module, CrossAttention):
            module.set_processor(processor)
