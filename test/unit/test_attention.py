"""Attention kernels against the formula."""

from functools import partial

import pytest
import torch

from modules import attention, cpu_layers


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 3, 21, 8, generator=generator)
    k, v = torch.randn(2, 2, 3, 13, 8, generator=generator)
    return q * 3, k, v


KERNELS = {
    "sdp": attention.scaled_dot_product,
    "sdp-no-mem": attention.scaled_dot_product_no_mem,
    "per head": attention.per_head,
    "one slice": partial(attention.sliced, max_bytes=10**9),
    "many slices": partial(attention.sliced, max_bytes=2 * 3 * 13 * 4 * 4),
    "too little memory": partial(attention.sliced, max_bytes=1),
    "sub-quadratic": partial(attention.sub_quadratic, query_chunk=5),
    "sub-quadratic, chunks of 4 keys": partial(attention.sub_quadratic, query_chunk=8, key_chunk=4),
    "sub-quadratic, small enough": partial(attention.sub_quadratic, min_bytes=10**9),
}


@pytest.mark.parametrize(
    "tokens, keys, width, taken",
    [
        (4096, 77, 40, "in_cache"),
        (520, 520, 40, "in_cache"),
        (1024, 1024, 8, "in_cache"),
        (1024, 77, 40, "narrow"),
        (256, 256, 8, "narrow"),
        (64, 77, 16, "narrow"),
        (256, 256, 80, None),
        (16, 16, 8, None),
    ],
)
def test_on_a_cpu_torchs_kernel_is_used_where_it_is_fastest(monkeypatch, tokens, keys, width, taken):
    called = []
    for name in ("in_cache", "narrow"):
        kernel = getattr(attention, name)
        monkeypatch.setattr(attention, name, lambda *qkv, kernel=kernel, name=name: called.append(name) or kernel(*qkv))
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 8 * width, generator=generator) for n in (tokens, keys, keys))
    q, k, v = (x.unflatten(2, (8, width)).transpose(1, 2) for x in (q, k, v))  # as networks give them
    given = [x.clone() for x in (q, k, v)]
    with torch.no_grad():
        found = attention.scaled_dot_product(q, k, v)
    assert called == ([taken] if taken and cpu_layers.is_available() else [])
    expected = torch.softmax(q @ k.transpose(-1, -2) / width**0.5, dim=-1) @ v
    assert found.shape == q.shape and torch.allclose(found, expected, atol=1e-5)
    assert all(torch.equal(x, before) for x, before in zip((q, k, v), given, strict=True))


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_is_exact(qkv, name):
    q, k, v = qkv
    expected = torch.softmax(q @ k.transpose(-1, -2) / 8**0.5, dim=-1) @ v
    out = KERNELS[name](q, k, v)
    assert out.shape == q.shape
    assert torch.allclose(out, expected, atol=1e-5)


def test_sub_quadratic_survives_large_scores(qkv):
    q, k, v = qkv
    out = attention.sub_quadratic(q * 100, k * 100, v, query_chunk=4, key_chunk=3)
    assert torch.isfinite(out).all()


def test_upcast_computes_in_float32(qkv):
    q, k, v = (x.half() * 90 for x in qkv)
    seen = []

    def kernel(q, k, v):
        seen.append(q.dtype)
        return attention.plain(q, k, v)

    out = attention.upcast(kernel)(q, k, v)
    assert seen == [torch.float32]
    assert out.dtype == torch.float16
    assert torch.isfinite(out).all()
    assert not torch.isfinite(attention.plain(q, k, v)).all()
