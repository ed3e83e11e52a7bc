"""The kind LoHa under the names that extensions know; its maths is in `modules.adapters.loha`."""

import network


class NetworkModuleHada(network.NetworkModule):
    """What a network of this kind holds for a layer."""


class ModuleTypeHada(network.ModuleType):
    """The kind."""

    kinds = ("loha",)
    module = NetworkModuleHada
