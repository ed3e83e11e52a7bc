"""The kind OFT and BOFT under the names that extensions know; its maths is in `modules.adapters.oft`."""

import network


class NetworkModuleOFT(network.NetworkModule):
    """What a network of this kind holds for a layer."""


class ModuleTypeOFT(network.ModuleType):
    """The kind."""

    kinds = ("oft",)
    module = NetworkModuleOFT
