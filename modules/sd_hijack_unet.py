"""engine: where diffusers' U-Net computes otherwise than the original, changed on the one network that is loaded."""

from __future__ import annotations

import torch
import torch.nn.functional as F


class UpsampleToSkip(torch.nn.Module):
    """Upsampling of a U-Net's decoder as in the original: doubled, convolved, then fitted to the map it is joined to.

    diffusers scales to that map's size before the convolution, which differs for sizes not divisible by 64. Takes over
    the convolution of a diffusers Upsample2D, under the same name.
    """

    def __init__(self, conv: torch.nn.Module):
        super().__init__()
        self.conv = conv

    def forward(self, hidden_states: torch.Tensor, output_size: torch.Size | None = None) -> torch.Tensor:
        """Returns a map (B, C, *output_size), or (B, C, 2h, 2w), of one (B, C, h, w)."""
        doubled = self.conv(F.interpolate(hidden_states, scale_factor=2.0, mode="nearest"))
        if output_size is None or doubled.shape[-2:] == torch.Size(output_size):
            return doubled
        return F.interpolate(doubled, size=output_size, mode="nearest")


def fit_decoder_to_skips(unet: torch.nn.Module) -> None:
    """Gives a diffusers UNet2DConditionModel the original's upsampling."""
    for block in unet.up_blocks:
        if block.upsamplers is not None:
            block.upsamplers = torch.nn.ModuleList(UpsampleToSkip(upsampler.conv) for upsampler in block.upsamplers)
