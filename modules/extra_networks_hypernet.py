"""engine: the prompt tag <hypernet:name:strength>."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from modules import extra_networks, shared
from modules.hypernetworks import hypernetwork


class ExtraNetworkHypernet(extra_networks.ExtraNetwork):
    """Applies the named hypernetworks, and the one of the setting sd_hypernetwork, to the U-Net of the job's model."""

    def __init__(self) -> None:
        super().__init__("hypernet")
        self._applied = ExitStack()

    def activate(self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]) -> None:
        self.deactivate(p)
        params_list = [*params_list, *self._from_setting(p, params_list)]
        names = [params.items[0] for params in params_list]
        multipliers = [float(params.items[1]) if len(params.items) > 1 else 1.0 for params in params_list]
        hypernetwork.load_hypernetworks(names, multipliers)
        if shared.loaded_hypernetworks:
            self._applied.enter_context(
                hypernetwork.applied(shared.loaded_hypernetworks, p.sd_model.model.diffusion_model)
            )

    def _from_setting(
        self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]
    ) -> list[extra_networks.ExtraNetworkParams]:
        """The setting's hypernetwork, which is also written into all prompts, unless a tag names it already."""
        name = shared.opts.sd_hypernetwork
        if name not in shared.hypernetworks or any(params.items[0] == name for params in params_list):
            return []
        multiplier = shared.opts.extra_networks_default_multiplier
        p.all_prompts = [f"{prompt}<hypernet:{name}:{multiplier}>" for prompt in p.all_prompts]
        return [extra_networks.ExtraNetworkParams([name, multiplier])]

    def deactivate(self, p: Any) -> None:
        self._applied.close()


extra_networks.default_extra_networks.append(ExtraNetworkHypernet)
