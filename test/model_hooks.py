"""The hooks that a job has put on a model's layers, beside those that every loaded model has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from modules.sd_hijack_optimizations import AttentionProcessor


def job_hooks(network: nn.Module) -> list[Callable[..., Any]]:
    return [
        hook
        for layer in network.modules()
        for hook in (*layer._forward_pre_hooks.values(), *layer._forward_hooks.values())
        if getattr(hook, "__func__", None) is not AttentionProcessor.begin_pass
    ]
