"""engine: models that do not fit the device's memory: which, and how their parts take turns there.

--medvram keeps one of text encoders, denoiser and VAE on the device, --lowvram moreover only one layer of the denoiser.
Without these flags, so does what is free on the device when the model is loaded.
"""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch

from modules import devices, memory_plan, shared
from modules.memory_plan import Choice, Offload, Sizes
from modules.model_families import DENOISER, VAE
from modules.options import OptionValues
from modules.placement import Placement
from modules.sd_models_types import WebuiSdModel

if TYPE_CHECKING:
    from modules.model_load import PreparedModel

logger = logging.getLogger(__name__)


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
            self.active = None
        if part is not None:
            try:
                part.to(self.device)
            except BaseException:  # of memory, most likely: what has arrived of it would be taken for all of it
                part.to(devices.cpu)
                raise
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


@dataclass(frozen=True)
class OffloadSettings(OptionValues):
    """Whether the program decides by itself. The names are those of the options."""

    offload_automatically: bool


class HasKind(Protocol):
    """What says whether it is an XL model: one that is loaded, or one that will be."""

    @property
    def is_sdxl(self) -> bool:
        """Whether it is an XL model."""


def by_flags(sd_model: HasKind) -> Choice:
    """Returns what the command line asks for, for a model of this kind."""
    flags = shared.cmd_opts
    if flags.lowvram:
        return Choice(Offload.BLOCKS, "--lowvram")
    if flags.medvram:
        return Choice(Offload.PARTS, "--medvram")
    if flags.medvram_sdxl and sd_model.is_sdxl:
        return Choice(Offload.PARTS, "--medvram-sdxl")
    return Choice()


def is_needed(sd_model: HasKind) -> bool:
    """Returns whether the command line asks for a model of this kind to be treated so."""
    return by_flags(sd_model).offload > Offload.NONE


def is_enabled(sd_model: WebuiSdModel) -> bool:
    """Returns whether a model's parts take turns."""
    return sd_model.lowvram


def choose(prepared: PreparedModel, placement: Placement) -> Choice:
    """Returns how a model that is about to be loaded onto the placement's device is treated.

    As the command line says; and where the device is not main memory, what is free has to suffice.
    """
    asked = by_flags(prepared)
    sizes = sizes_of(prepared, placement)
    free = devices.free_memory(placement.device)
    if placement.device.type == "cpu" or math.isinf(free):
        return replace(asked, sizes=sizes)
    fits = memory_plan.plan(int(free), sizes)
    if fits <= asked.offload or not OffloadSettings.from_opts(shared.opts).offload_automatically:
        return replace(asked, sizes=sizes, free=int(free))
    return Choice(fits, "automatic", sizes, int(free))


PIXELS = {"sd1": 512, "sd2": 768}
"""Layout of a model -> the side of the images it is made for; of others 1024."""


def sizes_of(prepared: PreparedModel, placement: Placement) -> Sizes:
    """Returns what a model takes on the device, in the types of a placement."""
    weights = {name: bytes_of(network.module, placement, name) for name, network in prepared.networks.items()}
    config: Mapping[str, Any] = prepared.denoiser.module.config
    levels = len(prepared.vae.module.config.block_out_channels)
    whole = sum(weights[name] for name, network in prepared.encoders.items() if not network.module.is_chunked)
    denoiser, vae = weights.pop(DENOISER), weights.pop(VAE)
    text = sum(weights.values())
    return Sizes(
        denoiser=denoiser,
        vae=vae,
        text=text,
        text_at_once=max(whole, text - whole),
        work=memory_plan.work_bytes(
            PIXELS.get(prepared.family.architecture, 1024),
            2 ** (levels - 1),
            config.get("block_out_channels", [640])[0],
            placement.dtype.itemsize,
        ),
    )


def bytes_of(network: torch.nn.Module, placement: Placement, name: str) -> int:
    """Returns what the weights of a module will take."""
    itemsize = 1 if placement.fp8 and name != VAE else placement.dtype_of(name).itemsize
    return itemsize * sum(parameter.numel() for parameter in network.parameters())


def apply(sd_model: WebuiSdModel) -> None:
    """Treats a model as was chosen for it, and as the command line says. Previews then have to wait for the sampler."""
    offload = max(sd_model.offload.offload, by_flags(sd_model).offload)
    shared.parallel_processing_allowed = offload == Offload.NONE
    if offload:
        setup_for_low_vram(sd_model, use_medvram=offload == Offload.PARTS)


def setup_for_low_vram(sd_model: WebuiSdModel, use_medvram: bool) -> None:
    """Has the parts of a model, which is in main memory, take turns on the device from now on."""
    if sd_model.lowvram:
        return
    from accelerate.hooks import add_hook_to_module

    parts = [*sd_model.cond_stage_model.parts, sd_model.first_stage_model]
    if use_medvram:
        parts.append(sd_model.model)
    else:
        pass_through_device(sd_model.model.diffusion_model)
    group = TakingTurns(devices.device)
    for part in parts:
        add_hook_to_module(part, group)
    groups[sd_model] = group
    sd_model.lowvram = True


def pass_through_device(network: torch.nn.Module) -> None:
    """Has each layer of a network come to the device for its call alone, and where it can be while the last computes.

    That keeps a copy in memory that cannot be paged out, unless main memory is short.
    """
    from diffusers.hooks import apply_group_offloading

    has_streams = devices.device.type in ("cuda", "xpu")
    weights = sum(parameter.nbytes for parameter in network.parameters())
    apply_group_offloading(
        network,
        onload_device=devices.device,
        offload_device=devices.cpu,
        offload_type="leaf_level",
        use_stream=has_streams,
        low_cpu_mem_usage=2 * weights > devices.free_memory(devices.cpu),
    )


def report(sd_model: WebuiSdModel) -> dict[str, Any]:
    """Returns how a loaded model is kept, as GET /sdapi/v1/memory says it."""
    choice, placement = sd_model.offload, sd_model.placement
    sizes = choice.sizes
    return {
        "checkpoint": sd_model.sd_checkpoint_info.title,
        "offload": choice.offload.name.lower(),
        "description": str(choice),
        "device": str(devices.device),
        "dtype": str(placement.dtype).removeprefix("torch."),
        "dtype_vae": str(placement.dtype_vae).removeprefix("torch."),
        "fp8": sd_model.fp8,
        "weights": {"denoiser": sizes.denoiser, "text": sizes.text, "vae": sizes.vae} if sizes else {},
        "work": sizes.work if sizes else None,
        "free_at_load": choice.free,
    }


def give_turn(sd_model: WebuiSdModel, part: torch.nn.Module) -> torch.device:
    """Returns the device that a part of a model computes on, after those that have to have left it."""
    group = groups.get(sd_model)
    if group is None:
        return sd_model.loaded_as.device
    group.bring(part)
    return group.device


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
    for module in sd_model.modules():
        hooks = getattr(module, "_diffusers_hook", None)
        offloading = hooks.get_hook("group_offloading") if hooks else None
        if offloading:
            offloading.group.cpu_param_dict.clear()


def send_everything_to_cpu() -> None:
    """Clears the device of the models whose parts take turns."""
    for group in groups.values():
        group.bring(None)
