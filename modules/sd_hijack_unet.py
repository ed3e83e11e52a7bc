"""engine: how the U-Net joins a map with the skip that belongs to it; extensions change that here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F


class TorchOfUnet:
    """What stands for torch where skips are joined: extensions replace `th.cat` to change the skips or what they meet.

    Everything else is torch's own.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def cat(self, tensors: Sequence[torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Joins a map and its skip, (B, C, h, w) each, fitting the map to a skip of another size first.

        Sizes differ for images not divisible by 64: halved and doubled, an odd side has grown by one. Where this is
        traced, the size is that of an example, and what is traced is for all sizes.
        """
        if len(tensors) == 2 and (torch.jit.is_tracing() or tensors[0].shape[-2:] != tensors[1].shape[-2:]):
            tensors = (F.interpolate(tensors[0], size=tensors[1].shape[-2:], mode="nearest"), tensors[1])
        return torch.cat(tensors, *args, **kwargs)


th = TorchOfUnet()


def is_replaced() -> bool:
    """Says whether an extension has replaced what joins maps with their skips."""
    unet = sys.modules.get("ldm.modules.diffusionmodules.openaimodel")
    return "cat" in vars(th) or getattr(unet, "th", th) is not th
