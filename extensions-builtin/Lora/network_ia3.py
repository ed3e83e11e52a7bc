"""The kind (IA)^3 under the names that extensions know; its maths is in `modules.adapters.ia3`."""

import network


class NetworkModuleIa3(network.NetworkModule):
    """What a network of this kind holds for a layer."""


class ModuleTypeIa3(network.ModuleType):
    """The kind."""

    kinds = ("ia3",)
    module = NetworkModuleIa3
