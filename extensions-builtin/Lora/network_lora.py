"""The kind LoRA under the names that extensions know; its maths is in `modules.adapters.lora`."""

import network


class NetworkModuleLora(network.NetworkModule):
    """What a network of this kind holds for a layer."""


class ModuleTypeLora(network.ModuleType):
    """The kind."""

    kinds = ("lora",)
    module = NetworkModuleLora
