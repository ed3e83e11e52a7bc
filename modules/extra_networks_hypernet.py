"""engine: the prompt tag <hypernet:name:strength>."""

from __future__ import annotations

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
        params_list = [*params_list, *self._from_setting(p, params_list)]
        names = [params.items[0] for params in params_list]
        multipliers = [float(params.items[1]) if len(params.items) > 1 else 1.0 for params in params_list]
        hypernetwork.load_hypernetworks(names, multipliers)
        if shared.loaded_hypernetworks:
            model_patches.wishes().put(KIND, partial(on_unet, tuple(shared.loaded_hypernetworks)))
        else:
            self.deactivate(p)

    def _from_setting(
        self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]
    ) -> list[extra_networks.ExtraNetworkParams]:
        """Returns the setting's hypernetwork, which is also written into all prompts, unless a tag names it already."""
        wanted = HypernetworkOfSettings.from_opts(shared.opts)
        if wanted.name not in shared.hypernetworks or any(params.items[0] == wanted.name for params in params_list):
            return []
        p.all_prompts = [f"{prompt}<hypernet:{wanted.name}:{wanted.multiplier}>" for prompt in p.all_prompts]
        return [extra_networks.ExtraNetworkParams([wanted.name, wanted.multiplier])]

    def text_key(self, params_list: list[extra_networks.ExtraNetworkParams]) -> None:
        """Returns nothing: hypernetworks act on the U-Net, the encoded text is always the same."""

    def deactivate(self, p: Any) -> None:
        """Wants no hypernetworks any more."""
        model_patches.wishes().take(KIND)


def on_unet(hypernetworks: tuple[hypernetwork.Hypernetwork, ...], model: Any) -> Any:
    """Returns the context in which hypernetworks act on the U-Net of a model (WebuiSdModel)."""
    return hypernetwork.applied(hypernetworks, model.model.diffusion_model)


extra_networks.default_extra_networks.append(ExtraNetworkHypernet)
