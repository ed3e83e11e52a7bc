"""pure: DoRA (Liu et al. 2024, arXiv:2402.09353): a changed weight keeps its directions and gets stored lengths."""

from __future__ import annotations

import torch


def decomposed(weight: torch.Tensor, change: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """Returns the change after which the rows, or the columns, of the changed weight have the lengths `magnitude`.

    weight, change: (outputs, inputs, ...). Lengths of rows are stored as (outputs, 1, ...) or (outputs,), those of
    columns as (1, inputs, ...); both are in use, and their shape tells which.
    """
    changed = weight + change
    axis = 0 if magnitude.shape[0] == weight.shape[0] and magnitude.numel() == weight.shape[0] else 1
    others = [other for other in range(weight.ndim) if other != axis]
    norm = torch.linalg.vector_norm(changed, dim=others, keepdim=True)
    lengths = magnitude.reshape([-1 if other == axis else 1 for other in range(weight.ndim)])
    return changed * (lengths / (norm + torch.finfo(norm.dtype).eps)) - weight
