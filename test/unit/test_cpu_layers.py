"""Layers on a CPU against torch's own, and who leaves them alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modules import cpu_layers

pytestmark = pytest.mark.skipif(not cpu_layers.is_available(), reason="this torch has no oneDNN")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture
def products(monkeypatch):
    """Sizes of the weights that oneDNN was given."""
    found = []
    linear = cpu_layers.linear
    monkeypatch.setattr(
        cpu_layers, "linear", lambda input, weight, bias=None: found.append(weight.shape) or linear(input, weight, bias)
    )
    return found


def adopted(layer):
    made = copy.deepcopy(layer)
    cpu_layers.adopt(made)
    return made


def assert_equal(found, expected):
    assert found.shape == expected.shape and found.dtype == expected.dtype and found.is_contiguous()
    assert torch.allclose(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 5), (1, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layer(products, shape, bias):
    layer = nn.Linear(5, 7, bias=bias)
    x = torch.randn(shape)
    assert_equal(adopted(layer)(x), layer(x))
    assert len(products) == 1


def test_linear_layer_takes_what_does_not_lie_in_one_piece():
    layer = nn.Linear(5, 7)
    x = torch.randn(2, 5, 9).transpose(1, 2)
    assert_equal(adopted(layer)(x), layer(x))


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 77, 512, 513, 1023, 1024, 1500])
def test_products_of_any_number_of_rows(rows):
    layer = nn.Linear(24, 40)
    x = torch.randn(rows, 24)
    assert_equal(adopted(layer)(x), layer(x))


def test_few_different_numbers_of_rows_are_computed():
    """Code is made, and kept, for each."""
    found = {cpu_layers.padded(rows) for rows in range(cpu_layers.FEWEST_ROWS, cpu_layers.MANY_ROWS)}
    assert len(found) == 16 + 4 + 4
    assert all(rows <= cpu_layers.padded(rows) <= cpu_layers.MANY_ROWS for rows in range(1, cpu_layers.MANY_ROWS))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "kernel, options",
    [
        (3, {"padding": 1}),
        (3, {"padding": 1, "bias": False}),
        (3, {"padding": 1, "stride": 2}),
        ((3, 1), {"padding": (2, 0), "dilation": (2, 1)}),
        (1, {}),
    ],
)
def test_convolution_of_few_pixels_is_a_product(products, batch, kernel, options):
    layer = nn.Conv2d(4, 160, kernel, **options)
    x = torch.randn(batch, 4, 6, 4)
    assert_equal(adopted(layer)(x), layer(x))
    assert len(products) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},  # of many pixels
        {"padding": "same"},
        {"padding": 1, "groups": 2, "out_channels": 512},
        {"padding": 1, "padding_mode": "circular", "out_channels": 512},
    ],
)
def test_other_convolutions_are_torchs(products, options):
    layer = nn.Conv2d(**{"in_channels": 4, "out_channels": 8, "kernel_size": 3} | options)
    x = torch.randn(1, 4, 8, 8)
    assert torch.equal(adopted(layer)(x), layer(x))
    assert not products


@pytest.mark.parametrize("size", [(16, 32), (23, 25)])
def test_convolution_of_doubled_pixels(size):
    layer = nn.Conv2d(6, 5, 3, padding=1)
    x = torch.randn(2, 6, *size)
    assert cpu_layers.doubles_apart(x, layer)
    assert_equal(cpu_layers.convolve_doubled(x, layer), layer(F.interpolate(x, scale_factor=2.0, mode="nearest")))


def test_few_doubled_pixels_and_changed_convolutions_are_left_alone():
    x = torch.randn(1, 4, 32, 32)
    layer = nn.Conv2d(4, 4, 3, padding=1)
    assert cpu_layers.doubles_apart(x, layer)
    assert not cpu_layers.doubles_apart(x[..., :4], layer)
    tiled = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
    hooked, replaced = copy.deepcopy(layer), copy.deepcopy(layer)
    hooked.register_forward_hook(lambda *_: None)
    replaced.forward = layer.forward
    for changed in (tiled, hooked, replaced, layer.half()):
        assert not cpu_layers.doubles_apart(x, changed)


def test_training_and_other_types_are_torchs(products):
    layer = nn.Linear(5, 5)
    ours = adopted(layer)
    x = torch.randn(2, 5)
    with torch.enable_grad():
        ours(x).sum().backward()
    assert ours.weight.grad is not None
    assert adopted(layer.double())(x.double()).dtype is torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(x).dtype is torch.bfloat16
    assert ours(x[:0]).shape == (0, 5)
    assert ours.to("meta")(x.to("meta")).shape == (2, 5)
    assert not products


def test_compilers_get_torchs_own_operations():
    layers = adopted(nn.Sequential(nn.Conv2d(2, 64, 3, padding=1), nn.Flatten(), nn.Linear(256, 3)))
    x = torch.randn(1, 2, 2, 2)
    graph = str(torch.jit.trace(layers, x).inlined_graph)
    assert "aten::linear" in graph and "aten::_convolution" in graph and "mkldnn" not in graph
    assert "mkldnn" not in str(torch.export.export(layers, (x,)).graph)


def test_a_forward_that_an_extension_puts_into_torch_is_called(monkeypatch, products):
    layer = adopted(nn.Linear(5, 5))
    monkeypatch.setattr(nn.Linear, "forward", lambda self, input: input * 2)
    assert torch.equal(layer(torch.ones(5)), torch.full([5], 2.0))
    assert not products


def test_changed_weights_count_at_once():
    layer = adopted(nn.Conv2d(2, 64, 3, padding=1))
    x = torch.randn(1, 2, 4, 4)
    before = layer(x)
    layer.weight.data *= 2
    layer.bias.zero_()
    assert_equal(layer(x), F.conv2d(x, layer.weight, padding=1))
    assert not torch.allclose(layer(x), before)


def test_layers_stay_what_others_take_them_for():
    class Special(nn.Linear):
        pass

    network = nn.Sequential(nn.Linear(2, 3), nn.Conv2d(2, 3, 1), Special(2, 2), nn.ReLU())
    before, parameters = list(network), list(network.parameters())
    cpu_layers.adopt(network)
    assert list(network) == before and all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    assert [type(layer).__name__ for layer in network] == ["Linear", "Conv2d", "Special", "ReLU"]
    assert isinstance(network[0], nn.Linear) and isinstance(network[1], nn.Conv2d) and type(network[2]) is Special
