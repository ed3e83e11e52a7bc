"""Tiny networks of the real architectures, as files that spandrel reads."""

from pathlib import Path

import torch

from modules import upscaler_files


def esrgan(scale=4):
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=8, num_blocks=1, scale=scale)


def compact():
    from spandrel.architectures.Compact import Compact

    return Compact(num_feat=8, num_conv=2, upscale=4)


def swinir():
    from spandrel.architectures.SwinIR import SwinIR

    return SwinIR(
        img_size=16,
        window_size=8,
        depths=[2],
        embed_dim=12,
        num_heads=[2],
        mlp_ratio=2,
        upscale=4,
        upsampler="nearest+conv",
    )


def scunet():
    from spandrel.architectures.SCUNet import SCUNet

    return SCUNet(config=[1] * 7, dim=64)


def dat():
    from spandrel.architectures.DAT import DAT

    return DAT(img_size=16, embed_dim=32, depth=[2], num_heads=[2], split_size=[4, 8], expansion_factor=2, upscale=2)


def hat():
    from spandrel.architectures.HAT import HAT

    return HAT(
        img_size=16,
        window_size=8,
        embed_dim=12,
        depths=[1],
        num_heads=[2],
        compress_ratio=4,
        squeeze_factor=4,
        upscale=4,
    )


def save(build, path: Path, seed: int = 0) -> Path:
    """Write the weights of build(), drawn from seed, to path."""
    upscaler_files.has_extra_architectures()  # makes spandrel importable
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(build().state_dict(), path)
    return path
