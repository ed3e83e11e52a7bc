"""engine: the VAE row by row: what it makes of the whole picture, in the memory of one map and a few rows.

diffusers' tiles are pictures of their own to it: its norms see the mean of a tile and not that of the whole, which
shows in brightness and at the seams. Here every layer that mixes neighbours gets the rows around, and norms
get the numbers of the whole picture, which a pass over all rows finds first. Each residual block is computed one and a
half times for that.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from diffusers.models.resnet import ResnetBlock2D

STRIPE_BYTES = 2**28
"""What the rows that are computed at a time may take."""

SMALLEST_STRIPE = 8
"""Rows; those around it, which are computed again for its neighbours, should be fewer."""

COPIES = 6
"""So many maps of the rows at hand are there at once: before and after norm, activation, convolution, sum."""

Layers = Callable[[torch.Tensor], torch.Tensor]

Statistics = tuple[torch.Tensor, torch.Tensor]
"""Mean and variance of a norm's groups in the whole picture, each (B, groups)."""


@contextlib.contextmanager
def row_by_row(vae: AutoencoderKL) -> Iterator[None]:
    """Has a VAE work row by row inside the block, however small the picture, where diffusers would work in tiles."""
    sides = vae.tile_sample_min_size, vae.tile_latent_min_size
    vae.tiled_decode = functools.partial(tiled_decode, vae)
    vae._tiled_encode = functools.partial(encode, vae)
    vae.tile_sample_min_size = vae.tile_latent_min_size = 0  # what is larger than a tile is done by the two above
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = sides
        del vae.tiled_decode, vae._tiled_encode


def tiled_decode(vae: AutoencoderKL, z: torch.Tensor, return_dict: bool = True) -> tuple[torch.Tensor] | object:
    """Returns what the VAE's method of this name does, but without seams."""
    from diffusers.models.autoencoders.vae import DecoderOutput

    pixels = decode(vae, z)
    return DecoderOutput(sample=pixels) if return_dict else (pixels,)


def decode(vae: AutoencoderKL, z: torch.Tensor) -> torch.Tensor:
    """Returns pixels (B, 3, H, W) of latents (B, C, h, w) as the VAE sees them, equal to its own but for rounding."""
    decoder = vae.decoder
    if vae.post_quant_conv is not None:
        z = vae.post_quant_conv(z)
    rows = Rows(decoder.mid_block(decoder.conv_in(z)))
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            rows = residual(rows, resnet)
        for upsampler in block.upsamplers or ():
            rows = Upsampled(rows, upsampler.conv)
    norm = decoder.conv_norm_out
    of_whole = rows.statistics(norm)
    return rows.replaced(lambda x: decoder.conv_out(decoder.conv_act(normed(x, norm, of_whole))), decoder.conv_out, 1)


def encode(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Returns mean and logarithm of the variance (B, 2 C, h, w) of pixels (B, 3, H, W), as the VAE's encoder does."""
    encoder = vae.encoder
    rows = Rows(Rows(pixels).replaced(encoder.conv_in, encoder.conv_in, reach=1))
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            rows = residual(rows, resnet)
        for downsampler in block.downsamplers or ():
            rows = halved(rows, downsampler)
    hidden = encoder.mid_block(rows.take(0, rows.height))
    moments = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(hidden)))
    return moments if vae.quant_conv is None else vae.quant_conv(moments)


def residual(rows: Rows, block: ResnetBlock2D) -> Rows:
    """Returns what a residual block, which knows no timestep, makes of a map."""
    first = rows.statistics(block.norm1)

    def begin(x: torch.Tensor) -> torch.Tensor:
        """Returns what comes before the second norm."""
        return block.conv1(block.nonlinearity(normed(x, block.norm1, first)))

    second = rows.statistics(block.norm2, begin, block.conv1)

    def whole(x: torch.Tensor) -> torch.Tensor:
        """Returns what the block makes of rows."""
        hidden = block.conv2(block.nonlinearity(normed(begin(x), block.norm2, second)))
        skip = x if block.conv_shortcut is None else block.conv_shortcut(x)
        return hidden.add_(skip).div_(block.output_scale_factor)

    return Rows(rows.replaced(whole, block.conv2, reach=2))


def halved(rows: Rows, downsampler: nn.Module) -> Rows:
    """Returns the map of half the size; each of its rows is made of three, the first of which are the even ones.

    Below what it is given the layer adds a row of zeros, which counts at the lower edge alone.
    """
    return Rows(torch.cat([downsampler(rows.take(top, bottom + 1)) for top, bottom in rows.stripes()], dim=2))


def normed(x: torch.Tensor, norm: nn.GroupNorm, of_whole: Statistics) -> torch.Tensor:
    """Returns rows (B, C, rows, W) normed as a part of their picture, in a tensor of their own."""
    mean, variance = of_whole
    repeats = norm.num_channels // norm.num_groups
    scale = torch.rsqrt(variance + norm.eps).repeat_interleave(repeats, dim=1) * norm.weight
    shift = norm.bias - mean.repeat_interleave(repeats, dim=1) * scale
    wide = x.to(torch.float32, copy=True)
    return wide.mul_(scale.float()[..., None, None]).add_(shift.float()[..., None, None]).to(x.dtype)


class Rows:
    """A map (B, C, H, W) in memory that is computed with a few rows at a time."""

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor
        self.height, self.width = tensor.shape[2:]

    def take(self, top: int, bottom: int) -> torch.Tensor:
        """Returns the rows from top to before bottom, which are inside the picture."""
        return self.tensor[:, :, top:bottom]

    def stripes(self, channels: int = 0) -> Iterator[tuple[int, int]]:
        """Yields, for each stripe, its first row, an even one, and the one after its last.

        channels: of what is made of the rows, if these are more than theirs.
        """
        batch, own = self.tensor.shape[:2]
        row_bytes = batch * max(own, channels) * self.width * self.tensor.element_size()
        count = max(STRIPE_BYTES // (COPIES * row_bytes) // 2 * 2, SMALLEST_STRIPE)
        for top in range(0, self.height, count):
            yield top, min(top + count, self.height)

    def window(self, first: int, last: int, wraps: bool) -> tuple[torch.Tensor, int]:
        """Returns the rows from first to before last, and the number of the first that is there.

        wraps: beyond an edge the picture goes on at the other one; without, there is nothing.
        """
        inside = self.take(max(first, 0), min(last, self.height))
        if not wraps:
            return inside, max(first, 0)
        above = [self.take(self.height + first, self.height)] if first < 0 else []
        below = [self.take(0, last - self.height)] if last > self.height else []
        return torch.cat([*above, inside, *below], dim=2), first

    def through(self, layers: Layers, conv: nn.Conv2d, reach: int, top: int, bottom: int) -> torch.Tensor:
        """Returns what layers make of some rows.

        conv: the one of them that looks at neighbours. reach: how many rows above and below the result depends on.
        """
        x, first = self.window(top - reach, bottom + reach, conv.padding_mode == "circular")
        return layers(x)[:, :, top - first : bottom - first]

    def statistics(self, norm: nn.GroupNorm, layers: Layers | None = None, conv: nn.Conv2d | None = None) -> Statistics:
        """Returns what a norm has to know of the whole map, or of what layers with one convolution make of it."""
        count, mean, squares = 0, 0.0, 0.0
        for top, bottom in self.stripes():
            x = self.take(top, bottom) if layers is None else self.through(layers, conv, 1, top, bottom)
            groups = x.reshape(x.shape[0], norm.num_groups, -1).float()
            variance, average = (value.double() for value in torch.var_mean(groups, dim=2, correction=0))
            new, difference = groups.shape[2], average - mean
            squares = squares + variance * new + difference**2 * (count * new / (count + new))
            mean = mean + difference * (new / (count + new))
            count += new
        return mean, squares / count

    def replaced(self, layers: Layers, conv: nn.Conv2d, reach: int) -> torch.Tensor:
        """Returns the map that layers make of this one; where it fits, in the memory of this one, which ends then.

        Rows are written when the stripe below them has been computed, which needs the old ones.
        """
        result, late = None, None
        for top, bottom in self.stripes(conv.out_channels):
            made = self.through(layers, conv, reach, top, bottom)
            if result is None:
                is_same = (made.shape[1], self.height) == self.tensor.shape[1:3]
                fits = is_same and conv.padding_mode != "circular"
                result = self.tensor if fits else made.new_empty(*made.shape[:2], self.height, self.width)
            if late is not None:
                result[:, :, late[0] : late[1]] = late[2]
            late = top, bottom, made
        result[:, :, late[0] : late[1]] = late[2]
        return result


class Upsampled(Rows):
    """A map of twice the size, whose rows are made of those of the smaller one when they are taken."""

    def __init__(self, rows: Rows, conv: nn.Conv2d):
        super().__init__(rows.tensor)
        self.rows = rows
        self.conv = conv
        self.height, self.width = 2 * rows.height, 2 * rows.width

    def take(self, top: int, bottom: int) -> torch.Tensor:
        """Returns the rows from top to before bottom, computed anew."""
        x, first = self.rows.window((top - 1) // 2, bottom // 2 + 1, self.conv.padding_mode == "circular")
        enlarged = self.conv(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return enlarged[:, :, top - 2 * first : bottom - 2 * first]
