"""Tiles of attention: their sizes, cutting and joining, and hooks on tiny networks of the real classes."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest
import torch

from modules import torchvision_ops

torchvision_ops.declare_missing()

from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
PATH = ROOT / "extensions-builtin" / "hypertile" / "hypertile.py"


def load():
    spec = importlib.util.spec_from_file_location("hypertile", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["hypertile"] = module
    spec.loader.exec_module(module)
    return module


hypertile = load()
SETTINGS = hypertile.TilingSettings(max_depth=3, max_tile=128, swap_size=1)


@pytest.mark.parametrize(
    ("size", "max_tile", "cells"),
    [((512, 512), 256, 32), ((512, 768), 512, 32), ((1024, 1024), 512, 64), ((100, 100), 256, 16), ((512, 512), 0, 16)],
)
def test_smallest_tile(size, max_tile, cells):
    assert hypertile.tile_cells(*size, max_tile) == cells


@pytest.mark.parametrize(
    ("length", "smallest", "options", "counts"),
    [(64, 16, 1, {4}), (64, 16, 3, {4, 2, 1}), (64, 16, 0, {4}), (60, 16, 2, {3, 2}), (8, 16, 3, {1}), (7, 3, 3, {1})],
)
def test_number_of_tiles_is_drawn(length, smallest, options, counts):
    rng = random.Random(0)
    assert {hypertile.pick(length, smallest, options, rng) for _ in range(50)} == counts


@pytest.mark.parametrize(
    ("tokens", "aspect", "grid"),
    [
        (64 * 64, 1.0, (64, 64)),
        (96 * 64, 1.5, (96, 64)),
        (48, 1.0, (8, 6)),
        (10, 1.0, (5, 2)),
        (15, 2.0, (5, 3)),
        (35, 1.0, (7, 5)),
        (4, 0.01, (1, 4)),
    ],
)
def test_rectangle_of_tokens(tokens, aspect, grid):
    found = hypertile.token_grid(tokens, aspect)
    assert found[0] * found[1] == tokens
    assert found == grid


def test_tokens_are_cut_into_rectangles_and_joined_again():
    x = torch.arange(2 * 8 * 6 * 3).reshape(2, 48, 3)
    tiles = hypertile.split_tokens(x, (8, 6), (4, 2))
    assert tiles.shape == (16, 6, 3)
    assert torch.equal(tiles[1], x.reshape(2, 8, 6, 3)[0, :2, 3:].reshape(6, 3))
    assert torch.equal(hypertile.join_tokens(tiles, (8, 6), (4, 2)), x)


def test_maps_are_cut_into_rectangles_and_joined_again():
    x = torch.arange(2 * 3 * 8 * 6).reshape(2, 3, 8, 6)
    tiles = hypertile.split_map(x, (4, 2))
    assert tiles.shape == (16, 3, 2, 3)
    assert torch.equal(tiles[1], x[0, :, :2, 3:])
    assert torch.equal(hypertile.join_map(tiles, (4, 2)), x)


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=2,
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=8,
    ).eval()


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4).eval()


def run(unet, size=32):
    x = torch.randn(1, 4, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return unet(x, torch.tensor([10]), torch.ones(1, 77, 8)).sample


def test_hooks_change_the_result_and_leave_no_trace(unet):
    tiling = hypertile.Hypertile()
    before = run(unet)
    tiling.seed(1)
    with pytest.raises(ZeroDivisionError), tiling.unet_tiled(unet, False, (256, 256), SETTINGS):
        tiled = run(unet)
        raise ZeroDivisionError
    assert not torch.equal(tiled, before)
    assert torch.equal(run(unet), before)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in unet.modules())


def test_tiled_attention_is_attention_of_each_tile(unet):
    layer = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    x = torch.randn(1, 32 * 32, 32, generator=torch.Generator().manual_seed(1))
    tiling = hypertile.Hypertile()
    with torch.inference_mode():
        with tiling.unet_tiled(unet, False, (256, 256), hypertile.TilingSettings(0, 0, 1)):
            tiled = layer(x)
        corner = layer(x.reshape(1, 32, 32, 32)[:, :16, :16].reshape(1, 256, 32))
    assert tiled.reshape(1, 32, 32, 32)[:, :16, :16].reshape(1, 256, 32) == pytest.approx(corner, abs=1e-5)


@pytest.mark.parametrize(("depth", "count"), [(0, 5), (1, 10), (2, 15), (3, 16)])
def test_depth_says_which_levels_are_tiled(depth, count):
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8, 8, 8), cross_attention_dim=8, attention_head_dim=4, norm_num_groups=4
    )
    tiled = [level for level, _ in hypertile.layers(unet, hypertile.SD1_LAYERS, depth)]
    assert len(tiled) == count
    assert max(tiled) == depth


def test_layers_of_sdxl():
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    names = {id(module): name for name, module in unet.named_modules()}
    found = list(hypertile.layers(unet, hypertile.SDXL_LAYERS, 3))
    assert len(found) == 5 + (5 + 50) + 10
    assert len({names[id(layer)] for _, layer in found}) == len(found)


def test_vae_decoder_is_tiled(vae):
    z = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    tiling = hypertile.Hypertile()
    with torch.inference_mode():
        before = vae.decode(z).sample
        with tiling.vae_tiled(vae, (256, 256), hypertile.TilingSettings(0, 128, 1)):
            tiled = vae.decode(z).sample
        after = vae.decode(z).sample
    assert not torch.equal(before, tiled)
    assert torch.equal(before, after)


def test_picture_of_one_tile_is_as_without(unet):
    tiling = hypertile.Hypertile()
    before = run(unet, 16)
    with tiling.unet_tiled(unet, False, (128, 128), SETTINGS):
        tiled = run(unet, 16)
    assert torch.equal(before, tiled)


def test_seed_fixes_the_tiles(unet):
    tiling = hypertile.Hypertile()
    results = []
    for seed in (1, 1):
        tiling.seed(seed)
        with tiling.unet_tiled(unet, False, (256, 256), hypertile.TilingSettings(3, 128, 3)):
            results.append(run(unet))
    assert torch.equal(*results)


def test_other_hooks_see_the_whole(unet):
    """Merging of tokens comes first on the way in and last on the way out, whichever was added first."""
    layer = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    seen = []
    handles = [
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1])),
        layer.register_forward_hook(lambda _, args, output: seen.append(output.shape[1])),
    ]
    tiling = hypertile.Hypertile()
    with tiling.unet_tiled(unet, False, (256, 256), SETTINGS):
        run(unet)
    for handle in handles:
        handle.remove()
    assert seen == [32 * 32, 32 * 32]
