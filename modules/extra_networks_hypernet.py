"""engine: the prompt tag <hypernet:name:strength>."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from modules import extra_networks, model_patches, shared
from modules.hypernetworks import hypernetwork

KIND = "hypernetworks"


@dataclass(frozen=True)
class HypernetworkOfSettings:
    """The hypernetwork of all prompts. name: "None" for none; multiplier: its strength."""

    name: str
    multiplier: float

    @classmethod
    def from_opts(cls, opts: Any) -> HypernetworkOfSettings:
        """Returns what the settings say."""
        return cls(name=opts.sd_hypernetwork, multiplier=opts.extra_networks_default_multiplier)


class ExtraNetworkHypernet(extra_networks.ExtraNetwork):
    """Applies the named hypernetworks, and the one of the setting sd_hypernetwork, to the U-Net of the job's model."""

    def __init__(self) -> None:
        super().__init__("hypernet")

    def activate(self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]) -> None:
        """Loads the named hypernetworks and wants them on the model of the job, whichever that becomes."""
        wanted = HypernetworkOfSettings.from_opts(shared.opts)
        if wanted.name in shared.hypernetworks:
            params_list = extra_networks.add_to_all(p, self.name, wanted.name, wanted.multiplier, params_list)
        tags = self._tags(p, params_list)
        hypernetwork.load_hypernetworks([name for name, _ in tags], [multiplier for _, multiplier in tags])
        loaded = [network.name for network in shared.loaded_hypernetworks]
        missing = dict.fromkeys(name for name, _ in tags if name not in loaded)
        if missing:
            p.comment(f"Hypernetworks that are not there or cannot be read, and are left out: {', '.join(missing)}")
        model = p.sd_model
        unfit = [n.name for n in shared.loaded_hypernetworks if not hypernetwork.fits(n, model.model.diffusion_model)]
        if unfit:
            p.comment(f"Hypernetworks that find nothing to change in {model.family.title}: {', '.join(unfit)}")
        if shared.loaded_hypernetworks:
            model_patches.wishes().put(KIND, partial(on_unet, tuple(shared.loaded_hypernetworks)))
        else:
            self.deactivate(p)

    def _tags(self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]) -> list[tuple[str, float]]:
        """Returns name and strength of each tag; one without a number for its strength is told and left out."""
        tags = []
        for params in params_list:
            name, multiplier = params.items[0], float_of(params.items[1]) if len(params.items) > 1 else 1.0
            if math.isfinite(multiplier):
                tags.append((name, multiplier))
            else:
                p.comment(f"<hypernet:{name}:...>: {params.items[1]!r} is no number: this tag is left out")
        return tags

    def text_key(self, params_list: list[extra_networks.ExtraNetworkParams]) -> None:
        """Returns nothing: hypernetworks act on the U-Net, the encoded text is always the same."""

    def deactivate(self, p: Any) -> None:
        """Wants no hypernetworks any more."""
        model_patches.wishes().take(KIND)


def float_of(text: Any) -> float:
    """Returns the number in a text, NaN if there is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def on_unet(hypernetworks: tuple[hypernetwork.Hypernetwork, ...], model: Any) -> Any:
    """Returns the context in which hypernetworks act on the U-Net of a model (WebuiSdModel)."""
    return hypernetwork.applied(hypernetworks, model.model.diffusion_model)


extra_networks.default_extra_networks.append(ExtraNetworkHypernet)
