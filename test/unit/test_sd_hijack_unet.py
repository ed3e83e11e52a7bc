"""How the U-Net joins maps with skips."""

import functools

import torch
import torch.nn.functional as F

from modules import sd_hijack_unet
from modules.sd_hijack_unet import th


def test_a_map_is_fitted_to_its_skip():
    x, skip = torch.randn(1, 2, 6, 8), torch.randn(1, 3, 5, 7)
    joined = th.cat([x, skip], dim=1)
    assert torch.equal(joined[:, 2:], skip)
    assert torch.equal(joined[:, :2], F.interpolate(x, size=(5, 7), mode="nearest"))
    same = [x, x * 2]
    assert torch.equal(th.cat(same, dim=1), torch.cat(same, dim=1))


def test_all_else_is_torchs():
    assert th.sum is torch.sum


def test_skips_are_joined_by_what_an_extension_puts_in_the_place_of_cat(sd_model, monkeypatch):
    unet = sd_model.model.diffusion_model
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, unet.in_channels, 8, 8, generator=generator)
    text = torch.randn(2, 77, 128, generator=generator)
    run = functools.partial(unet, x, torch.tensor([500, 20]), context=text)
    joined = []

    def cat(tensors, *args, **kwargs):
        joined.append([tuple(tensor.shape) for tensor in tensors])
        return torch.cat(tensors, *args, **kwargs)

    def without_skips(tensors, dim):
        return torch.cat([tensors[0], tensors[1] * 0], dim=dim)

    with torch.no_grad():
        before = run()
        monkeypatch.setattr(sd_hijack_unet.th, "cat", cat)
        assert torch.equal(run(), before)
        monkeypatch.setattr(sd_hijack_unet.th, "cat", without_skips)
        assert not torch.allclose(run(), before)
        monkeypatch.undo()
        assert torch.equal(run(), before)
    blocks = [block[0] for block in unet.output_blocks]
    assert [first[1] + second[1] for first, second in joined] == [block.channels for block in blocks]
    assert {len({shape[2:] for shape in shapes}) for shapes in joined} == {1}
