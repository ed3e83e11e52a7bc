"""pure: attention kernels: (q, k, v) -> softmax(q k^T / sqrt(head width)) v, all exact, of different memory and speed.

q: (B, heads, T, width), k and v: (B, heads, S, width). The result has the shape and dtype of q.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from modules import cpu_layers

MANY_PRODUCTS = 10 * 2**20
"""T times S times the width, of a head, from which on each head is computed by itself on a CPU."""

MANY_SCORES = 2**20
"""T times S from which on it is so for narrow heads too: several of them leave no cache to their scores."""

FEW_KEYS = 128
"""Keys, as those of a prompt, below which torch's kernel, made for blocks of them, is slow on a CPU."""

NARROW = 16
"""Channels of a head that torch's kernel multiplies at a fraction of its speed on a CPU."""

FEW_SCORES = 1024
"""T times S, of a head, below which torch's kernel, a single call, is the fastest on a CPU."""

FEWEST_HEADS = 16
"""That are multiplied at a time: MKL shares a product among threads if it has several of them for each product, and by
their number the last bits would differ.
"""

CACHED_SCORES = 2**18
"""Scores, 1 MB, that stay in the cores' caches."""

FEWEST_QUERIES = 256
"""That are computed at a time: with less the keys are brought into order too often."""

Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def scaled_dot_product(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes attention with torch's own kernel, the best one it has for the device and the shapes.

    On a CPU it takes up to twice the time of products by oneDNN where there are many tokens, and of plain ones where
    heads are narrow or there are few keys: there it multiplies block by block, each time with what MKL needs for that.
    A single head is one of many tokens in any case: torch's kernel would share its products among threads, by whose
    number the last bits differ.
    """
    if cpu_layers.fits(q, k):
        scores, width = q.shape[2] * k.shape[2], q.shape[3]
        is_large = scores * width >= MANY_PRODUCTS or scores >= MANY_SCORES
        if is_large or q.shape[0] * q.shape[1] == 1:
            return in_cache(q, k, v)
        is_narrow = width <= NARROW or k.shape[2] < FEW_KEYS
        if is_narrow and scores >= FEW_SCORES and q.shape[0] * q.shape[1] >= FEWEST_HEADS:
            return narrow(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def in_cache(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes head by head, as many queries at a time as have scores that stay in the cache, with oneDNN."""
    batch, heads, tokens, width = q.shape
    q = (q * width**-0.5).flatten(0, 1)
    k, v = k.flatten(0, 1), v.transpose(2, 3).flatten(0, 1)  # v: (B * heads, width, S)
    out = torch.empty_like(q)
    rows = max(FEWEST_QUERIES, 4 * CACHED_SCORES // k.shape[1])
    for queries, keys, values, result in zip(q, k, v, out, strict=True):
        for part, place in zip(queries.split(rows), result.split(rows), strict=True):
            scores = cpu_layers.pointwise(part, keys)
            place.copy_(cpu_layers.pointwise(scores.softmax(-1), values))
    return out.view(batch, heads, tokens, width)


def narrow(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes many heads at once, so many that their scores stay in the cache where that is possible.

    The second product is computed transposed: as it stands its result has a head's few columns, which is slow.
    """
    batch, heads, tokens, width = q.shape
    q, k, v = q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), v.flatten(0, 1).transpose(1, 2)
    out = q.new_empty(batch * heads, width, tokens)
    nothing = q.new_empty(1, 1, 1)
    at_once = max(FEWEST_HEADS, CACHED_SCORES // (tokens * k.shape[2]))
    parts = max(1, len(q) // at_once)
    for queries, keys, values, result in zip(*(x.tensor_split(parts) for x in (q, k, v, out)), strict=True):
        scores = torch.baddbmm(nothing, queries, keys, beta=0, alpha=width**-0.5)
        torch.bmm(values, scores.softmax(-1).transpose(1, 2), out=result)
    return out.view(batch, heads, width, tokens).transpose(2, 3)


def scaled_dot_product_no_mem(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes attention with torch's own kernel without its memory-efficient variant, whose results differ from run to
    run.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        return F.scaled_dot_product_attention(q, k, v)


BACKENDS = ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH")
"""What torch has for CUDA, by its names."""


def preferring(backend: str) -> Kernel:
    """Returns torch's own kernel with one of BACKENDS before the others wherever that one takes type and shapes.

    FlashAttention and cuDNN take half precision only, and no head as wide as that of a VAE.
    """

    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Computes attention with that backend, or with the next one."""
        from torch.nn.attention import SDPBackend, sdpa_kernel

        ordered = [backend, *(name for name in BACKENDS if name != backend)]
        with sdpa_kernel([getattr(SDPBackend, name) for name in ordered], set_priority=True):
            return F.scaled_dot_product_attention(q, k, v)

    return kernel


def xformers(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes attention with the kernel of the xformers package."""
    from xformers.ops import memory_efficient_attention

    # xformers has heads after tokens: (B, T, heads, width)
    q, k, v = (x.transpose(1, 2).contiguous() for x in (q, k, v))
    return memory_efficient_attention(q, k, v).transpose(1, 2)


def per_head(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes attention one head of one image after the other: scores of T x S at a time."""
    out = torch.empty_like(q)
    for b in range(q.shape[0]):
        for head in range(q.shape[1]):
            out[b, head] = plain(q[b, head], k[b, head], v[b, head])
    return out


def sliced(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, max_bytes: int) -> torch.Tensor:
    """Slices of the queries one after the other, as large as their scores fit into max_bytes."""
    bytes_per_query = q.shape[0] * q.shape[1] * k.shape[2] * q.element_size()
    rows = max(1, max_bytes // bytes_per_query)
    if rows >= q.shape[2]:
        return plain(q, k, v)
    return torch.cat([plain(part, k, v) for part in q.split(rows, dim=2)], dim=2)


def plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes the formula as it stands; all scores are in memory at once."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # (..., T, S)
    return scores.softmax(dim=-1) @ v


def sub_quadratic(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    query_chunk: int = 1024,
    key_chunk: int | None = None,
    min_bytes: int = 0,
) -> torch.Tensor:
    """Queries and keys in chunks, so that memory grows with the square root of their number: Rabe and Staats 2021
    (arXiv:2112.05682).

    query_chunk, key_chunk: tokens at a time, keys by default the square root of their number. min_bytes: scores up to
    this size are computed at once.
    """
    batch, heads, tokens, _ = q.shape
    if batch * heads * tokens * k.shape[2] * q.element_size() <= min_bytes:
        return scaled_dot_product(q, k, v)
    key_chunk = key_chunk or math.isqrt(k.shape[2] - 1) + 1
    keys, values = k.split(key_chunk, dim=2), v.split(key_chunk, dim=2)
    return torch.cat([one_query_chunk(part, keys, values) for part in q.split(query_chunk, dim=2)], dim=2)


def one_query_chunk(q: torch.Tensor, keys: tuple[torch.Tensor, ...], values: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Computes attention of one chunk of queries to all chunks of keys, its softmax built up chunk by chunk.

    The running maximum of the scores is subtracted before each exponential; when it rises, what was summed up is scaled
    to the new one.
    """
    scale = q.shape[-1] ** -0.5
    highest = torch.full((*q.shape[:-1], 1), -math.inf, dtype=torch.float32, device=q.device)
    total = torch.zeros_like(highest)
    out = torch.zeros(q.shape, dtype=torch.float32, device=q.device)
    for k, v in zip(keys, values, strict=True):
        scores = (q @ k.transpose(-1, -2)).float() * scale
        new_highest = torch.maximum(highest, scores.amax(dim=-1, keepdim=True))
        weights = (scores - new_highest).exp()
        rescale = (highest - new_highest).exp()
        total = total * rescale + weights.sum(dim=-1, keepdim=True)
        out = out * rescale + (weights.to(v.dtype) @ v).float()
        highest = new_highest
    return (out / total).to(q.dtype)


def upcast(kernel: Kernel) -> Kernel:
    """Returns the kernel computing in float32, for scores that overflow float16."""

    def in_float32(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Computes in float32; returns the type of the queries."""
        return kernel(q.float(), k.float(), v.float()).to(q.dtype)

    return in_float32
