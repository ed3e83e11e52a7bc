"""engine: `ldm.modules.diffusionmodules.openaimodel`: a U-Net of diffusers in the layout of the original.

`UNetModel` is what `sd_model.model.diffusion_model` is. It lays out the layers of diffusers' network in the original's
lists, so that both are the same tensors and most of it the same objects; its `forward` is the original's walk through
these lists. It is the way that the program computes: every module in it is called as it stands there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models import resnet
from diffusers.models.downsampling import Downsample2D
from ldm.modules.attention import SpatialTransformer, adopt
from ldm.modules.diffusionmodules import model
from ldm.modules.diffusionmodules.util import (
    avg_pool_nd,
    conv_nd,
    linear,
    normalization,
    timestep_embedding,
    zero_module,
)
from torch import nn

from modules.sd_hijack_unet import th

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

__all__ = [
    "Downsample",
    "ResBlock",
    "SpatialTransformer",
    "TimestepBlock",
    "TimestepEmbedSequential",
    "UNetModel",
    "Upsample",
    "avg_pool_nd",
    "conv_nd",
    "exists",
    "linear",
    "normalization",
    "th",
    "timestep_embedding",
    "zero_module",
]


def exists(value: Any) -> bool:
    """Returns whether a value is there."""
    return value is not None


class TimestepBlock(nn.Module):
    """What is called with the embedding of the timestep beside the map."""

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        """Returns what it makes of a map x (B, C, h, w), given emb (B, E)."""
        raise NotImplementedError


class TimestepEmbedSequential(nn.Sequential, TimestepBlock):
    """Layers, each called with what it understands."""

    def forward(
        self, x: torch.Tensor, emb: torch.Tensor, context: torch.Tensor | None = None, **_: Any
    ) -> torch.Tensor:
        """Returns what the layers make of a map x (B, C, h, w), given emb (B, E) and context (B, T, width)."""
        for layer in self:
            if isinstance(layer, TimestepBlock):
                x = layer(x, emb)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


class Upsample(model.Upsample):
    """Doubles a map, and convolves it."""

    def __init__(
        self, channels: int, use_conv: bool, dims: int = 2, out_channels: int | None = None, padding: int = 1, **_: Any
    ):
        check_flat(dims)
        super().__init__(channels, use_conv, out_channels=out_channels, padding=padding)


class Downsample(nn.Module):
    """Halves a map, by a convolution (`op`) or an average."""

    def __init__(
        self, channels: int, use_conv: bool, dims: int = 2, out_channels: int | None = None, padding: int = 1, **_: Any
    ):
        check_flat(dims)
        super().__init__()
        self.op = Downsample2D(channels, use_conv, out_channels, padding).conv

    @classmethod
    def over(cls, layer: Downsample2D) -> Downsample:
        """Returns the layout of a layer of diffusers."""
        return laid_out(cls, op=layer.conv)

    @property
    def channels(self) -> int:
        """The number of channels that it takes."""
        return self.op.in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns (B, C', h / 2, w / 2) for a map x (B, C, h, w)."""
        return self.op(x)


class ResBlock(TimestepBlock):
    """A residual block: the parts of one of diffusers, in the original's groups."""

    def __init__(
        self,
        channels: int,
        emb_channels: int,
        dropout: float,
        out_channels: int | None = None,
        use_conv: bool = False,
        use_scale_shift_norm: bool = False,
        dims: int = 2,
        use_checkpoint: bool = False,
        up: bool = False,
        down: bool = False,
        **_: Any,
    ):
        check_flat(dims)
        if use_conv or use_scale_shift_norm or up or down:
            raise ValueError("use_conv, use_scale_shift_norm, up and down are not there: no Stable Diffusion uses them")
        super().__init__()
        block = resnet.ResnetBlock2D(
            in_channels=channels, out_channels=out_channels, temb_channels=emb_channels, dropout=dropout, eps=1e-5
        )
        zero_module(block.conv2)
        for name, part in self.parts_of(block).items():
            setattr(self, name, part)

    @staticmethod
    def parts_of(block: resnet.ResnetBlock2D) -> dict[str, nn.Module]:
        """Returns the layers of a block of diffusers by the names of their groups."""
        return {
            "in_layers": nn.Sequential(block.norm1, block.nonlinearity, block.conv1),
            "emb_layers": nn.Sequential(block.nonlinearity, block.time_emb_proj),
            "out_layers": nn.Sequential(block.norm2, block.nonlinearity, block.dropout, block.conv2),
            "skip_connection": nn.Identity() if block.conv_shortcut is None else block.conv_shortcut,
        }

    @classmethod
    def over(cls, block: resnet.ResnetBlock2D) -> ResBlock:
        """Returns the layout of a block of diffusers."""
        return laid_out(cls, **cls.parts_of(block))

    @property
    def channels(self) -> int:
        """The number of channels that it takes."""
        return self.in_layers[0].num_channels

    @property
    def out_channels(self) -> int:
        """The number of channels that it gives."""
        return self.out_layers[0].num_channels

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        """Returns what the block makes of a map x (B, C, h, w), given emb (B, E)."""
        return self._forward(x, emb)

    def _forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class UNetModel(nn.Module):
    """A U-Net of diffusers as extensions know it.

    unet: diffusers' own, which is no part of this one: its layers are. They have its weights, and where they are
    called diffusers' classes compute. num_classes: "sequential" if there is a vector beside the text, of vector_width.
    """

    unet: UNet2DConditionModel

    def __init__(self, unet: UNet2DConditionModel):
        super().__init__()
        object.__setattr__(self, "unet", unet)  # around torch, which would list its layers a second time
        adopt(unet)
        self.time_embed = sequence_of(unet.time_embedding)
        label = unet.class_embedding or getattr(unet, "add_embedding", None)
        if label is not None:
            self.label_emb = label if isinstance(label, nn.Embedding) else nn.Sequential(sequence_of(label))
        self.input_blocks = nn.ModuleList([TimestepEmbedSequential(unet.conv_in), *encoder_blocks(unet)])
        self.middle_block = TimestepEmbedSequential(*middle_layers(unet))
        self.output_blocks = nn.ModuleList(decoder_blocks(unet))
        self.out = nn.Sequential(unet.conv_norm_out, unet.conv_act, unet.conv_out)

        config = unet.config
        self.num_classes = None if label is None else "sequential"
        self.vector_width: int | None = config.projection_class_embeddings_input_dim
        self.in_channels: int = config.in_channels
        self.out_channels: int = config.out_channels
        self.model_channels: int = config.block_out_channels[0]
        self.channel_mult = tuple(channels // self.model_channels for channels in config.block_out_channels)
        self.num_res_blocks = len(unet.down_blocks) * [config.layers_per_block]
        self.predict_codebook_ids = False

    @property
    def dtype(self) -> torch.dtype:
        """The type that it computes in."""
        return self.unet.dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.unet.device

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor | None = None,
        y: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """Returns what it predicts (B, C, h, w) for latents x (B, C', h, w) at timesteps (B,).

        context: text (B, T, width). y: vector (B, D) of models that have one.
        """
        emb = self.embedding(x, timesteps, y)
        h, skips = x, []
        for block in self.input_blocks:
            h = block(h, emb, context)
            skips.append(h)
        h = self.middle_block(h, emb, context)
        for block in self.output_blocks:
            h = block(th.cat([h, skips.pop()], dim=1), emb, context)
        return self.out(h)

    def embedding(self, x: torch.Tensor, timesteps: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """Returns what all blocks are told of the timesteps (B,) and of the vector y: (B, E), in the type of x."""
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels).to(x.dtype))
        return emb if self.num_classes is None else emb + self.label_emb(y)


def check_flat(dims: int) -> None:
    """Raises ValueError for blocks over other than images."""
    if dims != 2:
        raise ValueError(f"dims is {dims}; there are blocks for images only, which have 2")


def laid_out(kind: type[nn.Module], **parts: nn.Module) -> Any:
    """Returns a module of a class, not built but made of parts that exist."""
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def sequence_of(embedding: nn.Module) -> nn.Sequential:
    """Returns the layers of a TimestepEmbedding of diffusers."""
    return nn.Sequential(embedding.linear_1, embedding.act, embedding.linear_2)


def blocks_of(block: nn.Module) -> Iterator[list[nn.Module]]:
    """Yields the layers of each residual block with its transformer, of a block of diffusers."""
    for residual, transformer in zip_longest(block.resnets, getattr(block, "attentions", ())):
        yield [ResBlock.over(residual), *([] if transformer is None else [transformer])]


def encoder_blocks(unet: UNet2DConditionModel) -> Iterator[TimestepEmbedSequential]:
    """Yields the input blocks behind the first."""
    for block in unet.down_blocks:
        for layers in blocks_of(block):
            yield TimestepEmbedSequential(*layers)
        for layer in block.downsamplers or ():
            yield TimestepEmbedSequential(Downsample.over(layer))


def middle_layers(unet: UNet2DConditionModel) -> Iterable[nn.Module]:
    """Returns the layers between encoder and decoder: a transformer between two residual blocks, or less."""
    first, *others = (ResBlock.over(residual) for residual in unet.mid_block.resnets)
    transformers = [layer for layer in unet.mid_block.attentions if layer is not None]
    return [first, *chain.from_iterable(zip_longest(transformers, others))]


def decoder_blocks(unet: UNet2DConditionModel) -> Iterator[TimestepEmbedSequential]:
    """Yields the output blocks. The upsampling of a level belongs to its last one."""
    for block in unet.up_blocks:
        *others, last = blocks_of(block)
        for layers in others:
            yield TimestepEmbedSequential(*layers)
        for layer in block.upsamplers or ():
            layer.__class__ = Upsample
        yield TimestepEmbedSequential(*last, *(block.upsamplers or ()))
