"""pure: tensors from main memory onto a device, without waiting for what that still has to compute."""

from __future__ import annotations

import torch


def upload(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Returns a tensor on a device, of another type if one is given; itself if it is all that already.

    CUDA has its own copy of pageable memory before the call returns, so the tensor may be freed at once. MPS would read
    it later, so there it is waited for.
    """
    return tensor.to(device, dtype or tensor.dtype, non_blocking=tensor.device.type == "cpu" and device.type != "mps")
