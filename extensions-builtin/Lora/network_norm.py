"""The kind norms under the names that extensions know; its maths is in `modules.adapters.norm`."""

import network


class NetworkModuleNorm(network.NetworkModule):
    """What a network of this kind holds for a layer."""


class ModuleTypeNorm(network.ModuleType):
    """The kind."""

    kinds = ("norm",)
    module = NetworkModuleNorm
