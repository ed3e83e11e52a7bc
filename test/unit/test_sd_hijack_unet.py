"""The decoder of the U-Net at sizes not divisible by 64."""

import torch
import torch.nn.functional as F
from torch import nn

from modules.sd_hijack_unet import UpsampleToSkip, fit_decoder_to_skips


def test_map_is_fitted_to_the_skip_after_the_convolution():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    x = torch.randn(1, 2, 3, 4)
    doubled = conv(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    assert torch.allclose(UpsampleToSkip(conv)(x), doubled)
    assert torch.allclose(UpsampleToSkip(conv)(x, torch.Size((6, 8))), doubled)
    fitted = UpsampleToSkip(conv)(x, torch.Size((5, 7)))
    assert torch.allclose(fitted, F.interpolate(doubled, size=(5, 7), mode="nearest"))


def test_weights_keep_their_names():
    block = nn.Module()
    block.upsamplers = nn.ModuleList([nn.Module()])
    block.upsamplers[0].conv = nn.Conv2d(2, 2, 3)
    last = nn.Module()
    last.upsamplers = None
    unet = nn.Module()
    unet.up_blocks = nn.ModuleList([block, last])
    before = set(unet.state_dict())
    fit_decoder_to_skips(unet)
    assert set(unet.state_dict()) == before
    assert isinstance(block.upsamplers[0], UpsampleToSkip)
