"""pure: classifier-free guidance without the model: stacking and padding of conditionings, combining of outputs.

A conditioning is a tensor (B, tokens, width), or for models with more inputs a dict of tensors with the batch in front,
whose "crossattn" holds the tokens. Functions return new conditionings and leave their arguments alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

Cond = Tensor | dict[str, Tensor]
CondsList = Sequence[Sequence[tuple[int, float]]]
"""Per image its parts: (row of the model's output, weight)."""


def tokens_of(cond: Cond) -> Tensor:
    """The token vectors (B, tokens, width) of a conditioning."""
    return cond["crossattn"] if isinstance(cond, dict) else cond


def with_tokens(cond: Cond, tokens: Tensor) -> Cond:
    """The conditioning with other token vectors."""
    if not isinstance(cond, dict):
        return tokens
    changed = copy.copy(cond)
    changed["crossattn"] = tokens
    return changed


def catenate_conds(conds: Sequence[Cond]) -> Cond:
    """Joins conditionings along the batch."""
    if not isinstance(conds[0], dict):
        return torch.cat(conds)
    return {key: torch.cat([cond[key] for cond in conds]) for key in conds[0]}


def subscript_cond(cond: Cond, a: int, b: int) -> Cond:
    """Rows a to b of a conditioning."""
    if not isinstance(cond, dict):
        return cond[a:b]
    return {key: value[a:b] for key, value in cond.items()}


def split_cond(cond: Cond, rows: int) -> Iterator[Cond]:
    """A conditioning in pieces of a number of rows; the last may be shorter."""
    for start in range(0, len(tokens_of(cond)), rows):
        yield subscript_cond(cond, start, start + rows)


def pad_cond(tensor: Cond, repeats: int, empty: Tensor) -> Cond:
    """Appends the token vectors of an empty prompt (1, 77, width) a number of times."""
    tokens = tokens_of(tensor)
    return with_tokens(tensor, torch.cat([tokens, empty.repeat(tokens.shape[0], repeats, 1)], dim=1))


def fit_length(cond: Cond, length: int) -> Cond:
    """Cuts a conditioning to a number of token vectors, or repeats its last vector up to it."""
    tokens = tokens_of(cond)
    missing = length - tokens.shape[1]
    if missing > 0:
        tokens = torch.hstack([tokens, tokens[:, -1:].repeat(1, missing, 1)])
    return with_tokens(cond, tokens[:, :length])


def repeat_rows(x: Tensor, repeats: Sequence[int]) -> Tensor:
    """Row i of x as often as repeats[i] says, in a new tensor."""
    return torch.cat([x[i : i + 1].expand(count, *x.shape[1:]) for i, count in enumerate(repeats)])


def pick_rows(x: Tensor, rows: Sequence[int]) -> Tensor:
    """Rows of x, which the host knows, so no accelerator is waited for; a view where they lie together."""
    if list(rows) == list(range(rows[0], rows[0] + len(rows))):
        return x[rows[0] : rows[0] + len(rows)]
    return torch.cat([x[row : row + 1] for row in rows])


def combine(x_out: Tensor, conds_list: CondsList, uncond: Tensor, cond_scale: float) -> Tensor:
    """U + Σ w·s·(C - U) per image: Ho & Salimans 2022 (arXiv:2207.12598), for parts Liu et al. 2022 (arXiv:2206.01714).

    x_out: output of the model to all parts, rows as conds_list numbers them. uncond: its output to the negative prompts
    (B, C, h, w).
    """
    denoised = uncond.clone()
    for i, parts in enumerate(conds_list):
        for row, weight in parts:
            denoised[i] += (x_out[row] - uncond[i]) * (weight * cond_scale)
    return denoised


def combine_edit(x_out: Tensor, cond_scale: float, image_cfg_scale: float) -> Tensor:
    """U0 + s·(C - U) + s_img·(U - U0): InstructPix2Pix (Brooks et al. 2023, arXiv:2211.09800).

    x_out: (3·B, C, h, w), output to prompts and image C, to negative prompts and image U, to negative prompts alone U0.
    """
    cond, image_only, uncond = x_out.chunk(3)
    return uncond + cond_scale * (cond - image_only) + image_cfg_scale * (image_only - uncond)
