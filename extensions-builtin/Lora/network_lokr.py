"""The kind LoKr under the names that extensions know; its maths is in `modules.adapters.lokr`."""

import network


class NetworkModuleLokr(network.NetworkModule):
    """What a network of this kind holds for a layer."""


class ModuleTypeLokr(network.ModuleType):
    """The kind."""

    kinds = ("lokr",)
    module = NetworkModuleLokr
