"""engine: where the networks of one model are, and in which types they compute. Loads and moves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from modules import devices
from modules.model_families import DENOISER, VAE
from modules.shared_cmd_options import cmd_opts


@dataclass(frozen=True)
class Placement:
    """A model's device and types.

    dtype: of the U-Net, dtype_vae: of the VAE, dtype_text: of the text encoders, each what it computes in. fp8: U-Net
    and text encoders are stored in 8 bits, and each layer is widened while it computes; keeps_fp16: main memory has
    their weights in float16 besides, for networks to be added to. upcast_sampling: sampling runs in float32 around the
    U-Net. channels_last: the channels of a pixel lie together in memory, which some convolutions like. devices: modules
    that compute elsewhere than on device, by their names in the model.
    """

    device: torch.device
    dtype: torch.dtype
    dtype_vae: torch.dtype
    dtype_text: torch.dtype
    fp8: bool = False
    keeps_fp16: bool = False
    upcast_sampling: bool = False
    channels_last: bool = False
    devices: Mapping[str, torch.device] = field(default_factory=dict, hash=False)

    @classmethod
    def from_flags(cls, device: torch.device, fp8: bool = False, keeps_fp16: bool = False) -> Placement:
        """Returns what the command line asks for, on a device."""
        chosen = devices.chosen
        is_half_cuda = devices.device.type == "cuda" and chosen.dtype != torch.float32
        return cls(
            device=device,
            dtype=chosen.dtype,
            dtype_vae=chosen.dtype_vae,
            dtype_text=chosen.dtype,
            fp8=fp8,
            keeps_fp16=keeps_fp16,
            upcast_sampling=devices.unet_needs_upcast,
            channels_last=cmd_opts.opt_channelslast or is_half_cuda,
        )

    def device_of(self, name: str) -> torch.device:
        """Returns where a module of a model computes, by its name there."""
        return self.devices.get(name, self.device)

    def dtype_of(self, name: str) -> torch.dtype:
        """Returns what a module of a model computes in, by its name there."""
        return {DENOISER: self.dtype, VAE: self.dtype_vae}.get(name, self.dtype_text)

    def upcast(self, x: torch.Tensor) -> torch.Tensor:
        """Returns a tensor in the type of sampling: float32 around a U-Net that needs it, else its own."""
        return x.float() if self.upcast_sampling else x
