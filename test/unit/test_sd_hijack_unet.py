"""The decoder of the U-Net at sizes not divisible by 64."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from modules import sd_hijack_unet
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


def test_skips_are_joined_by_what_an_extension_puts_in_the_place_of_cat(sd_model, monkeypatch):
    unet = sd_model.model.diffusion_model
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, unet.config.in_channels, 8, 8, generator=generator)
    text = torch.randn(2, 77, unet.config.cross_attention_dim, generator=generator)
    run = functools.partial(unet, x, torch.tensor([500, 20]), text, return_dict=False)
    joined = []

    def cat(tensors, *args, **kwargs):
        joined.append([tuple(tensor.shape) for tensor in tensors])
        return torch.cat(tensors, *args, **kwargs)

    def without_skips(tensors, dim):
        return torch.cat([tensors[0], tensors[1] * 0], dim=dim)

    with torch.no_grad():
        before = run()[0]
        monkeypatch.setattr(sd_hijack_unet.th, "cat", cat)
        assert torch.equal(run()[0], before)
        monkeypatch.setattr(sd_hijack_unet.th, "cat", without_skips)
        assert not torch.allclose(run()[0], before)
        monkeypatch.undo()
        assert torch.equal(run()[0], before)
    skips = [resnet for block in unet.up_blocks for resnet in block.resnets]
    assert [first[1] + second[1] for first, second in joined] == [resnet.conv1.in_channels for resnet in skips]
    assert {len({shape[2:] for shape in shapes}) for shapes in joined} == {1}
    assert sd_hijack_unet.th.sum is torch.sum
