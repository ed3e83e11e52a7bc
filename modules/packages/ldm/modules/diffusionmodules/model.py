"""engine: `ldm.modules.diffusionmodules.model`: the parts of a VAE of diffusers under the names of the original.

They stay diffusers' objects and keep diffusers' names in `named_modules()` and `state_dict()`; the original's names are
further ones. What is put in the place of a part's `forward` is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models import attention_processor, resnet, upsampling
from diffusers.models.autoencoders import vae
from diffusers.models.unets import unet_2d_blocks
from torch import nn

from modules import cpu_layers

__all__ = ["AttnBlock", "Decoder", "Encoder", "MemoryEfficientAttnBlock", "ResnetBlock", "Upsample", "adopt"]


class PointwiseConv(nn.Module):
    """A linear layer of diffusers, called on maps (B, C, h, w): the original has convolutions of one pixel there."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.layer = layer

    @property
    def weight(self) -> torch.Tensor:
        """The layer's weight as that of a convolution: (C', C, 1, 1), the same memory."""
        return self.layer.weight[:, :, None, None]

    @property
    def bias(self) -> torch.Tensor | None:
        """The layer's bias."""
        return self.layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns (B, C', h, w) for a map (B, C, h, w)."""
        return self.layer(x.movedim(1, -1)).movedim(-1, 1)


class Upsample(upsampling.Upsample2D):
    """Doubles a map, and convolves it."""

    def forward(self, hidden_states: torch.Tensor, output_size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Returns (B, C', 2h, 2w) for a map (B, C, h, w), or the size that is asked for."""
        is_simple = self.use_conv and self.interpolate and not self.use_conv_transpose and self.norm is None
        conv = self.conv if is_simple and output_size is None else None
        if isinstance(conv, nn.Conv2d) and cpu_layers.doubles_apart(hidden_states, conv.weight, conv.bias, conv):
            return cpu_layers.double_and_convolve(hidden_states, conv)
        return super().forward(hidden_states, output_size, *args, **kwargs)


class AttnBlock(attention_processor.Attention):
    """Attention among the pixels of a map."""

    @property
    def norm(self) -> nn.Module:
        """The normalisation before it."""
        return self.group_norm

    @property
    def q(self) -> PointwiseConv:
        """Makes queries."""
        return PointwiseConv(self.to_q)

    @property
    def k(self) -> PointwiseConv:
        """Makes keys."""
        return PointwiseConv(self.to_k)

    @property
    def v(self) -> PointwiseConv:
        """Makes values."""
        return PointwiseConv(self.to_v)

    @property
    def proj_out(self) -> PointwiseConv:
        """Makes what is added to the map."""
        return PointwiseConv(self.to_out[0])

    def __call__(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """Calls the block as the original is called."""
        return super().__call__(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns what it makes of a map x (B, C, h, w)."""
        return self.processor(self, x)


MemoryEfficientAttnBlock = AttnBlock
"""The original has another class for xformers. Here the kernel is chosen below: see `modules.attention`."""


class ResnetBlock(resnet.ResnetBlock2D):
    """A residual block."""

    @property
    def nin_shortcut(self) -> nn.Module | None:
        """What the map goes through beside the block, where it changes the number of channels."""
        return self.conv_shortcut


class Middle(unet_2d_blocks.UNetMidBlock2D):
    """What is between the levels and the latent: `mid`."""

    @property
    def block_1(self) -> nn.Module:
        """The first residual block."""
        return self.resnets[0]

    @property
    def attn_1(self) -> nn.Module | None:
        """The attention, if there is any."""
        return next(iter(self.attentions), None)

    @property
    def block_2(self) -> nn.Module:
        """The last residual block."""
        return self.resnets[-1]


class Level:
    """A resolution."""

    resnets: nn.ModuleList

    @property
    def block(self) -> nn.ModuleList:
        """Its residual blocks."""
        return self.resnets

    @property
    def attn(self) -> Sequence[nn.Module]:
        """Its attention blocks: Stable Diffusion has none here."""
        return ()


class DownLevel(Level, unet_2d_blocks.DownEncoderBlock2D):
    """A resolution of the encoder."""

    @property
    def downsample(self) -> nn.Module:
        """What halves the map behind it; AttributeError for the last."""
        return level_end(self.downsamplers)


class UpLevel(Level, unet_2d_blocks.UpDecoderBlock2D):
    """A resolution of the decoder."""

    @property
    def upsample(self) -> nn.Module:
        """What doubles the map behind it; AttributeError for the last."""
        return level_end(self.upsamplers)


def level_end(layers: nn.ModuleList | None) -> nn.Module:
    """Returns the layer that ends a level."""
    if not layers:
        raise AttributeError("it is the last level")
    return layers[0]


class Coder:
    """What encoder and decoder share."""

    mid_block: nn.Module
    conv_norm_out: nn.Module
    layers_per_block: int

    @property
    def mid(self) -> nn.Module:
        """What is between the levels and the latent."""
        return self.mid_block

    @property
    def norm_out(self) -> nn.Module:
        """The last normalisation."""
        return self.conv_norm_out

    @property
    def num_res_blocks(self) -> int:
        """Residual blocks of a level; the decoder has one more."""
        return self.layers_per_block


class Encoder(Coder, vae.Encoder):
    """From pixels to mean and variance of latents."""

    @property
    def down(self) -> nn.ModuleList:
        """The levels, finest first."""
        return self.down_blocks

    @property
    def num_resolutions(self) -> int:
        """The number of levels."""
        return len(self.down_blocks)


class Decoder(Coder, vae.Decoder):
    """From latents to pixels."""

    give_pre_end = False
    tanh_out = False

    @property
    def up(self) -> list[nn.Module]:
        """The levels, finest first: they are called from the last to the first."""
        return list(reversed(self.up_blocks))

    @property
    def num_resolutions(self) -> int:
        """The number of levels."""
        return len(self.up_blocks)


ADOPTED: dict[type, type] = {
    attention_processor.Attention: AttnBlock,
    resnet.ResnetBlock2D: ResnetBlock,
    upsampling.Upsample2D: Upsample,
    unet_2d_blocks.UNetMidBlock2D: Middle,
    unet_2d_blocks.DownEncoderBlock2D: DownLevel,
    unet_2d_blocks.UpDecoderBlock2D: UpLevel,
    vae.Encoder: Encoder,
    vae.Decoder: Decoder,
}
"""diffusers' class -> ours for the same part."""


def adopt(network: nn.Module) -> None:
    """Gives the parts of an AutoencoderKL of diffusers the classes above. They stay the objects that they are."""
    for module in network.modules():
        if type(module) in ADOPTED:
            module.__class__ = ADOPTED[type(module)]
