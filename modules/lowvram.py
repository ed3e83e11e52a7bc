"""engine: models that do not fit the device's memory: which, and how their parts take turns there.

--medvram keeps one of text encoder, U-Net and VAE on the device, --lowvram moreover only one block of the U-Net.
"""

from __future__ import annotations

import weakref
from typing import Any, Protocol

import torch

from modules import devices, shared
from modules.sd_models_types import WebuiSdModel


class TakingTurns:
    """Has at most one part of a model on the device: the one that was called last.

    A hook of accelerate, whose calls also reach `encode` and `decode` of a VAE.
    """

    no_grad = False

    def __init__(self, device: torch.device):
        self.device = device
        self.active: torch.nn.Module | None = None

    def bring(self, part: torch.nn.Module | None) -> None:
        """Moves a part to the device and the active one away; None just moves away."""
        if part is self.active:
            return
        if self.active is not None:
            self.active.to(devices.cpu)
        if part is not None:
            part.to(self.device)
        self.active = part

    def init_hook(self, module: torch.nn.Module) -> torch.nn.Module:
        """Moves a part away when the hook is put on it: its turn is still to come."""
        return module.to(devices.cpu)

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gives a part its turn before it is called, with its arguments as they are."""
        self.bring(module)
        return args, kwargs

    def post_forward(self, module: torch.nn.Module, output: Any) -> Any:
        """Leaves a part on the device after its call: it may be called again, as the U-Net is at each step."""
        return output

    def detach_hook(self, module: torch.nn.Module) -> torch.nn.Module:
        """Leaves a part where it is when the hook is taken off it."""
        return module


groups: weakref.WeakKeyDictionary[WebuiSdModel, TakingTurns] = weakref.WeakKeyDictionary()
"""Models whose parts take turns."""


class HasKind(Protocol):
    """What says whether it is an XL model: one that is loaded, or one that will be."""

    @property
    def is_sdxl(self) -> bool:
        """Whether it is an XL model."""


def is_needed(sd_model: HasKind) -> bool:
    """Returns whether the command line asks for a model of this kind to be treated so."""
    flags = shared.cmd_opts
    return flags.lowvram or flags.medvram or (flags.medvram_sdxl and sd_model.is_sdxl)


def is_enabled(sd_model: WebuiSdModel) -> bool:
    """Returns whether a model's parts take turns."""
    return sd_model.lowvram


def apply(sd_model: WebuiSdModel) -> None:
    """Treats a model as the command line says. Previews then have to wait for the sampler."""
    needed = is_needed(sd_model)
    shared.parallel_processing_allowed = not needed
    if needed:
        setup_for_low_vram(sd_model, use_medvram=not shared.cmd_opts.lowvram)


def setup_for_low_vram(sd_model: WebuiSdModel, use_medvram: bool) -> None:
    """Has the parts of a model, which is in main memory, take turns on the device from now on."""
    if sd_model.lowvram:
        return
    from accelerate.hooks import add_hook_to_module

    parts = [sd_model.cond_stage_model, sd_model.first_stage_model]
    if use_medvram:
        parts.append(sd_model.model)
    else:
        from diffusers.hooks import apply_group_offloading

        apply_group_offloading(
            sd_model.model.diffusion_model,
            onload_device=devices.device,
            offload_device=devices.cpu,
            offload_type="block_level",
            num_blocks_per_group=1,
        )
    group = TakingTurns(devices.device)
    for part in parts:
        add_hook_to_module(part, group)
    groups[sd_model] = group
    sd_model.lowvram = True


def replace_part(sd_model: WebuiSdModel, old: torch.nn.Module, new: torch.nn.Module) -> None:
    """Has a network take another's turns; nothing to do for models whose parts take none."""
    group = groups.get(sd_model)
    if group is None:
        return
    from accelerate.hooks import add_hook_to_module, remove_hook_from_module

    if group.active is old:
        group.bring(None)
    remove_hook_from_module(old)
    add_hook_to_module(new, group)


def forget(sd_model: WebuiSdModel) -> None:
    """Ends the turns of a model whose memory is about to be freed; something may still refer to it."""
    groups.pop(sd_model, None)


def send_everything_to_cpu() -> None:
    """Clears the device of the models whose parts take turns."""
    for group in groups.values():
        group.bring(None)
