"""The kind LoRA under the names that extensions know; its maths is in `modules.adapters.lora`."""

from __future__ import annotations

import functools

import network
import torch
from torch import nn


class NetworkModuleLora(network.NetworkModule):
    """What a network of this kind holds for a layer. up_model, down_model, mid_model: its factors, as layers."""

    @functools.cached_property
    def up_model(self) -> nn.Module:
        """The factor that the outputs come from."""
        return layer_of(self.weights["lora_up.weight"])

    @functools.cached_property
    def down_model(self) -> nn.Module:
        """The factor that the inputs go to, which steps over an image as the layer itself does."""
        return layer_of(self.weights["lora_down.weight"], self.sd_module)

    @functools.cached_property
    def mid_model(self) -> nn.Module | None:
        """The factor between the two, if there is one."""
        weight = self.weights.get("lora_mid.weight")
        return None if weight is None else layer_of(weight, self.sd_module)


class ModuleTypeLora(network.ModuleType):
    """The kind."""

    kinds = ("lora",)
    module = NetworkModuleLora


def layer_of(weight: torch.Tensor, like: nn.Module | None = None) -> nn.Module:
    """Returns a layer without bias of this weight. like: a convolution whose stride and padding a larger kernel has."""
    if weight.ndim == 2:
        layer: nn.Module = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    else:
        is_larger = isinstance(like, nn.Conv2d) and like.kernel_size == tuple(weight.shape[2:])
        steps = {"stride": like.stride, "padding": like.padding} if is_larger else {}
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), **steps, bias=False, device="meta")
    layer.weight = nn.Parameter(weight.float(), requires_grad=False)
    return layer
