"""pure: classifier-free guidance without the model: rows of its input, and combining of its outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CondsList = Sequence[Sequence[tuple[int, float]]]
"""Per image its parts: (row of the model's output, weight)."""


def repeat_rows(x: Tensor, repeats: Sequence[int]) -> Tensor:
    """Repeats row i of x as often as repeats[i] says, in a new tensor."""
    return torch.cat([x[i : i + 1].expand(count, *x.shape[1:]) for i, count in enumerate(repeats)])


def pick_rows(x: Tensor, rows: Sequence[int]) -> Tensor:
    """Returns rows of x, which the host knows, so no accelerator is waited for; a view where they lie together."""
    if list(rows) == list(range(rows[0], rows[0] + len(rows))):
        return x[rows[0] : rows[0] + len(rows)]
    return torch.cat([x[row : row + 1] for row in rows])


def combine(x_out: Tensor, conds_list: CondsList, uncond: Tensor, cond_scale: float) -> Tensor:
    """Returns U + Σ w·s·(C - U) per image.

    Ho & Salimans 2022 (arXiv:2207.12598), for parts Liu et al. 2022 (arXiv:2206.01714). x_out: output of the model to
    all parts, rows as conds_list numbers them. uncond: its output to the negative prompts (B, C, h, w).
    """
    denoised = uncond.clone()
    for i, parts in enumerate(conds_list):
        for row, weight in parts:
            denoised[i] += (x_out[row] - uncond[i]) * (weight * cond_scale)
    return denoised


def combine_edit(x_out: Tensor, cond_scale: float, image_cfg_scale: float) -> Tensor:
    """Returns U0 + s·(C - U) + s_img·(U - U0): InstructPix2Pix (Brooks et al. 2023, arXiv:2211.09800).

    x_out: (3·B, C, h, w), output to prompts and image C, to negative prompts and image U, to negative prompts alone U0.
    """
    cond, image_only, uncond = x_out.chunk(3)
    return uncond + cond_scale * (cond - image_only) + image_cfg_scale * (image_only - uncond)
