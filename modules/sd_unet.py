"""engine: U-Nets that extensions put in place of the checkpoint's: the list of them, and the one in use.

Extensions add SdUnetOption objects with on_list_unets; the setting sd_unet chooses.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch

from modules import devices, script_callbacks, shared, shared_items

logger = logging.getLogger(__name__)


class SdUnetOption:
    """A choice of the setting sd_unet. model_name: of the checkpoint it stands in for; label: how it is listed."""

    model_name: str | None = None
    label: str | None = None

    def create_unet(self) -> SdUnet:
        """Makes the network; called when the choice comes into use."""
        raise NotImplementedError


class SdUnet(torch.nn.Module):
    """A network in place of the checkpoint's U-Net. `option` is the choice it was made for."""

    option: SdUnetOption

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Returns the output (B, C, h, w) for latents x of that shape, timesteps (B,) and text (B, T, width)."""
        raise NotImplementedError

    def activate(self) -> None:
        """Prepares the network; called when it comes into use."""

    def deactivate(self) -> None:
        """Frees what the network holds; called when it goes out of use."""


@dataclass
class Selection:
    """The choice in use and its network; None for the checkpoint's own."""

    option: SdUnetOption | None = None
    unet: SdUnet | None = None


unet_options: list[SdUnetOption] = []
selection = Selection()


def __getattr__(name: str) -> Any:
    """Returns the parts of the selection under the names that extensions look for."""
    names = {"current_unet": "unet", "current_unet_option": "option"}
    if name in names:
        return getattr(selection, names[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def list_unets() -> None:
    """Asks the extensions for their U-Nets anew."""
    unet_options[:] = script_callbacks.list_unets_callback()


def get_unet_option(option: str | None = None) -> SdUnetOption | None:
    """Returns the choice a value of the setting sd_unet stands for, None for the checkpoint's own U-Net.

    "Automatic" is the first one made for the current checkpoint, by its model_name.
    """
    option = option or shared.opts.sd_unet
    if option == "None":
        return None
    if option == "Automatic":
        name = shared.sd_model.sd_checkpoint_info.model_name
        return next((choice for choice in unet_options if choice.model_name == name), None)
    return next((choice for choice in unet_options if choice.label == option), None)


def apply_unet(option: str | None = None) -> None:
    """Brings the U-Net of a choice (by default the setting's) into use; the checkpoint's own waits in main memory."""
    new = get_unet_option(option)
    if new == selection.option:
        return

    if selection.unet is not None:
        logger.info("Deactivating U-Net: %s", selection.option.label)
        selection.unet.deactivate()
    selection.option, selection.unet = new, None

    own = shared.sd_model.model.diffusion_model
    if new is None:
        if not shared.sd_model.lowvram:
            own.to(devices.device)
        return
    own.to(devices.cpu)
    devices.torch_gc()
    selection.unet = new.create_unet()
    selection.unet.option = new
    logger.info("Activating U-Net: %s", new.label)
    selection.unet.activate()


shared_items.register("sd_unet", lambda: [option.label for option in unet_options], refresh=list_unets)
