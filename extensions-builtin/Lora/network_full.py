"""The kind whole differences under the names that extensions know; its maths is in `modules.adapters.full`."""

import network


class NetworkModuleFull(network.NetworkModule):
    """What a network of this kind holds for a layer."""


class ModuleTypeFull(network.ModuleType):
    """The kind."""

    kinds = ("full",)
    module = NetworkModuleFull
