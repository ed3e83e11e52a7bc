"""engine: torch.compile: the blocks that a network has many of are compiled, each kind once for all sizes.

Their weights are arguments of what is compiled, so that networks (LoRA), which change weights in place, cost nothing.
What is compiled is kept in the data directory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from modules import cache
from modules.backends.base import Unavailable

GRAPHS = 64
"""So many graphs there may be of a kind of block: a model has one for each width, and others for what takes turns."""


def has_compiler() -> bool:
    """Returns whether there is a C++ compiler, which code for a CPU needs."""
    named = os.environ.get("CXX")
    return any(shutil.which(compiler) for compiler in ([named] if named else ["g++", "clang++", "cl"]))


class CompiledBlocks:
    """A network whose repeated blocks are compiled."""

    title = "torch.compile"

    def __init__(self, network: nn.Module):
        self.network = network

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the network."""
        return self.network(*args, **kwargs)

    def prepare(self) -> Iterator[None]:
        """Nothing: what is compiled depends on the inputs."""
        return iter(())

    def forget(self) -> None:
        """Nothing is kept beside the weights."""

    def left_out(self) -> AbstractContextManager[Any]:
        """Has its blocks compute as they are, inside the block."""
        return torch.compiler.set_stance("force_eager")


class TorchCompile:
    """Compiles by a backend of torch.compile."""

    def __init__(self, backend: str | Callable[..., Any] = "inductor"):
        self.backend = backend

    def compile(self, network: nn.Module) -> CompiledBlocks:
        """Has the repeated blocks of a network compiled when they are called first.

        Raises Unavailable without a compiler, and for networks without such blocks.
        """
        on_cpu = next(network.parameters()).device.type == "cpu"
        if self.backend == "inductor" and on_cpu and not has_compiler():
            raise Unavailable("there is no C++ compiler: install g++, or name one in the environment as CXX")
        names = getattr(getattr(network, "unet", network), "_repeated_blocks", None) or ()
        blocks = [layer for layer in network.modules() if type(layer).__name__ in names]
        if not blocks:
            raise Unavailable(f"{type(network).__name__} has no blocks that repeat")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(cache.cache_dir, "torch-compile"))
        import torch._dynamo

        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
        for block in blocks:
            block.compile(dynamic=True, backend=self.backend)
        return CompiledBlocks(network)
