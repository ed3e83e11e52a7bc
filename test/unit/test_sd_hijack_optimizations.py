"""The table of attention optimizations and the processor that uses it."""

import json
from pathlib import Path

import pytest
import torch

from modules import attention, devices, sd_hijack_optimizations, shared, torchvision_ops
from modules.sd_hijack_optimizations import SdOptimization, optimizations, selection

CALLBACKS = json.loads((Path(__file__).parent.parent / "data" / "callbacks.json").read_text())


@pytest.fixture
def layers():
    """A self-attention, a cross-attention and a VAE attention layer of diffusers."""
    torchvision_ops.declare_missing()
    from diffusers.models.attention_processor import Attention

    vae = {"bias": True, "residual_connection": True, "norm_num_groups": 4, "_from_deprecated_attn_block": True}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            "self": Attention(16, heads=2, dim_head=8).eval(),
            "cross": Attention(16, cross_attention_dim=12, heads=2, dim_head=8).eval(),
            "vae": Attention(16, heads=1, dim_head=16, **vae).eval(),
        }


@pytest.fixture
def kernel():
    yield
    selection.kernel = attention.scaled_dot_product


INPUTS = {
    "self": (torch.randn(2, 6, 16),),
    "cross": (torch.randn(2, 6, 16), torch.randn(2, 5, 12)),
    "vae": (torch.randn(2, 16, 3, 4),),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_layer_computes_as_with_diffusers_processor(layers, kind):
    layer = layers[kind]
    with torch.no_grad():
        expected = layer(*INPUTS[kind])
        sd_hijack_optimizations.use_selected_attention(layer)
        assert torch.allclose(layer(*INPUTS[kind]), expected, atol=1e-6)


@pytest.mark.parametrize("optimization", [o for o in optimizations if o.is_available()], ids=lambda o: o.name)
@pytest.mark.parametrize("kind", INPUTS)
def test_every_optimization_gives_the_same(layers, kernel, optimization, kind):
    layer = layers[kind]
    sd_hijack_optimizations.use_selected_attention(layer)
    with torch.no_grad():
        expected = layer(*INPUTS[kind])
        optimization.apply()
        assert torch.allclose(layer(*INPUTS[kind]), expected, atol=1e-5)
    optimization.undo()
    assert selection.kernel is attention.scaled_dot_product


def test_titles_and_flags_are_those_of_the_reference():
    expected = {row["title"]: row["cmd_opt"] for row in CALLBACKS["sd_hijack_optimizations"]["built_in"]}
    assert {o.title(): o.cmd_opt for o in optimizations if o not in BACKENDS} == expected


BACKENDS = [
    next(o for o in optimizations if o.name == f"sdp-{name}") for name in ("flash", "cudnn", "efficient", "math")
]
"""Backends of torch's kernel: ours."""


@pytest.mark.parametrize("optimization", BACKENDS, ids=lambda o: o.name)
def test_a_backend_of_torch_goes_before_the_others_for_cuda_alone(layers, kernel, optimization, monkeypatch):
    assert not optimization.is_available()
    monkeypatch.setattr(devices, "device", torch.device("cuda"))
    assert optimization.is_available() and not optimization.cmd_opt

    orders = []
    compute = attention.F.scaled_dot_product_attention

    def record(*args):
        orders.append(torch._C._get_sdp_priority_order())
        return compute(*args)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", record)
    before = torch._C._get_sdp_priority_order()
    sd_hijack_optimizations.use_selected_attention(layers["self"])
    with torch.no_grad():
        expected = layers["self"](*INPUTS["self"])
        optimization.apply()
        assert torch.allclose(layers["self"](*INPUTS["self"]), expected, atol=1e-6)
    first = {"flash": "FLASH", "cudnn": "CUDNN", "efficient": "EFFICIENT", "math": "MATH"}
    backend = torch.nn.attention.SDPBackend(orders[-1][0])
    assert backend.name.startswith(first[optimization.name.removeprefix("sdp-")])
    assert torch._C._get_sdp_priority_order() == before


def test_sdp_is_preferred_where_xformers_is_not_installed():
    available = [o for o in optimizations if o.is_available()]
    assert max(available, key=lambda o: o.priority).name == "sdp"
    assert "xformers" not in [o.name for o in available]


def test_that_xformers_is_installed_changes_nothing_by_itself(monkeypatch):
    monkeypatch.setattr(sd_hijack_optimizations.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(devices, "device", torch.device("cuda"))
    assert not sd_hijack_optimizations.has_xformers()
    monkeypatch.setattr(shared.cmd_opts, "xformers", True)
    assert sd_hijack_optimizations.has_xformers()


def test_upcast_setting_computes_in_float32(layers, kernel):
    layer = layers["self"].to(torch.bfloat16)
    sd_hijack_optimizations.use_selected_attention(layer)
    seen = []

    def record(q, k, v):
        seen.append(q.dtype)
        return attention.scaled_dot_product(q, k, v)

    selection.kernel = record
    x = INPUTS["self"][0].bfloat16()
    with torch.no_grad():
        layer(x)
        with shared.opts.overlay({"upcast_attn": True}):
            assert layer(x).dtype == torch.bfloat16
    assert seen == [torch.bfloat16, torch.float32]


def test_settings_are_read_once_for_all_layers_of_a_network(layers, kernel, monkeypatch):
    network = torch.nn.ModuleDict({"encoder": torch.nn.Sequential(layers["self"], layers["self"])})
    sd_hijack_optimizations.use_selected_attention(network)
    reads = []
    read = sd_hijack_optimizations.AttentionSettings.from_opts
    monkeypatch.setattr(
        sd_hijack_optimizations.AttentionSettings, "from_opts", lambda opts: reads.append(1) or read(opts)
    )
    with torch.no_grad():
        network["encoder"](INPUTS["self"][0])
    assert reads == [1]


def test_sub_quadratic_follows_its_flags(kernel, monkeypatch):
    seen = {}
    monkeypatch.setattr(attention, "sub_quadratic", lambda q, k, v, **arguments: seen.update(arguments))
    monkeypatch.setattr(shared.cmd_opts, "sub_quad_chunk_threshold", 0)
    monkeypatch.setattr(shared.cmd_opts, "sub_quad_kv_chunk_size", 7)
    sd_hijack_optimizations.sub_quadratic(*torch.zeros(3, 1, 1, 2, 2))
    assert seen == {"query_chunk": 1024, "key_chunk": 7, "min_bytes": 0}


def test_free_memory_of_a_card_counts_what_torch_holds_unused(monkeypatch):
    stats = {"reserved_bytes.all.current": 500, "active_bytes.all.current": 200}
    monkeypatch.setattr(devices, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: stats)
    assert sd_hijack_optimizations.get_available_vram() == 1300


def test_optimization_of_an_extension_may_say_little():
    class Mine(SdOptimization):
        name = "mine"

    mine = Mine()
    mine.apply()
    assert (mine.title(), mine.is_available(), mine.priority) == ("mine", True, 0)
