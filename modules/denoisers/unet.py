"""engine: the U-Net of Stable Diffusion 1, 2 and XL: diffusers' network, in the original's layout over it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch

from modules import sd_hijack_optimizations, torchvision_ops
from modules.denoisers.base import Convert, Kind, Reads, Told
from modules.model_families import Family, Shapes, shapes
from modules.sampling.conditioning import SIZE_WIDTH, ConditioningError, with_size
from modules.sd_disable_initialization import InitializeOnMeta


def build(family: Family, found: Shapes) -> tuple[torch.nn.Module, Convert]:
    """Makes the U-Net of these shapes, and what takes weights to its parameters."""
    torchvision_ops.declare_missing()
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = shapes.unet_config(found, family.unet_prefix, family.denoiser)
    with InitializeOnMeta():
        unet = UNet2DConditionModel(**config)
    return unet, functools.partial(convert_ldm_unet_checkpoint, config=unet.config)


def reads(config: Mapping[str, Any]) -> Reads:
    """Returns what a U-Net takes."""
    return Reads(config["cross_attention_dim"], config.get("projection_class_embeddings_input_dim"))


def lay_out(network: torch.nn.Module) -> torch.nn.Module:
    """Returns a U-Net as extensions know it: one of diffusers in the original's layout, others as they are."""
    from diffusers import UNet2DConditionModel
    from ldm.modules.diffusionmodules.openaimodel import UNetModel

    layout = UNetModel(network) if isinstance(network, UNet2DConditionModel) else network
    sd_hijack_optimizations.use_selected_attention(layout)
    return layout


def arguments(unet: torch.nn.Module, t: torch.Tensor, told: Told) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns what a U-Net is called with for timesteps (B,). Vector and size together are `y`.

    Raises ConditioningError if it has no place for them, or needs what is not there.
    """
    check_vector(unet, told)
    vector = with_size(told.vector, told.size)
    return (t,), {"context": told.text} | ({} if vector is None else {"y": vector})


def check_vector(unet: torch.nn.Module, told: Told) -> None:
    """Raises ConditioningError for parts that the U-Net has no place for, and if it needs what is not there."""
    width = getattr(unet, "vector_width", None)
    if width is None:
        told.check(needed=(), taken=())
        return
    told.check(needed=("vector",), taken=("vector", "size"))
    given = told.vector.shape[-1] + (0 if told.size is None else SIZE_WIDTH * told.size.shape[-1])
    if given != width:
        raise ConditioningError(
            f"The model needs {width} numbers beside the text, in 'vector' or also 'time_ids'; here are {given}"
        )


KIND = Kind(build, reads, lay_out, arguments)
