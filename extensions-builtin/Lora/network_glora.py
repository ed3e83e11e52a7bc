"""The kind GLoRA under the names that extensions know; its maths is in `modules.adapters.glora`."""

import network


class NetworkModuleGLora(network.NetworkModule):
    """What a network of this kind holds for a layer."""


class ModuleTypeGLora(network.ModuleType):
    """The kind."""

    kinds = ("glora",)
    module = NetworkModuleGLora
