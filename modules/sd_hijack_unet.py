"""engine: where diffusers' U-Net computes otherwise than the original, changed on the one network that is loaded."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


class TorchOfUnet:
    """What stands for torch where skips are joined: extensions replace `th.cat` to change the skips or what they meet.

    Everything else is torch's own.
    """

    def __init__(self) -> None:
        self.cat = torch.cat

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


th = TorchOfUnet()


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


def join_through_th(unet: torch.nn.Module) -> None:
    """Lets the skips of a diffusers UNet2DConditionModel be joined by `th.cat([map, skip], dim=1)` once that is
    replaced.
    """
    width = unet.mid_block.resnets[-1].conv2.out_channels
    for block in unet.up_blocks:
        for resnet in block.resnets:
            resnet.register_forward_pre_hook(JoinAgain(width))
            width = resnet.conv2.out_channels


class JoinAgain:
    """Takes a map and its skip, which diffusers has joined before a layer of the decoder, apart for `th.cat`.

    width: channels of the map, which come first.
    """

    def __init__(self, width: int):
        self.width = width

    def __call__(self, layer: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        """Returns the arguments of the layer with the joined map (B, C, h, w) replaced; None to leave them."""
        if th.cat is torch.cat:
            return None
        joined, *others = args
        return th.cat([joined[:, : self.width], joined[:, self.width :]], dim=1), *others
