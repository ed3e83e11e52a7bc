"""Layers on a CPU against torch's own, and who leaves them alone."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers.models import activations
from PIL import Image
from torch import nn
from transformers.activations import QuickGELUActivation

from modules import attention, cpu_layers, cpu_load, launch_process, model_load, processing, sd_emphasis
from modules.prompt_parser import SdConditioning
from test.unit.diffusers_pipelines import CPU
from tools import tiny_checkpoints

pytestmark = pytest.mark.skipif(not cpu_layers.is_available(), reason="this torch has no oneDNN")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture
def products(monkeypatch):
    """What was computed as a product."""
    found = []
    for name in ("linear", "products"):
        function = getattr(cpu_layers, name)
        monkeypatch.setattr(
            cpu_layers, name, lambda *args, name=name, function=function: found.append(name) or function(*args)
        )
    return found


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(nn.Linear, "forward", cpu_layers.TORCHS_LINEAR)
    monkeypatch.setattr(nn.Conv2d, "_conv_forward", cpu_layers.TORCHS_CONVOLUTION)
    monkeypatch.setattr(nn.SiLU, "forward", cpu_layers.TORCHS_SILU)
    cpu_layers.install()


def by_torch(layer, x):
    with cpu_layers.left_out():
        return layer(x)


def assert_equal(found, expected):
    assert found.shape == expected.shape and found.dtype == expected.dtype and found.is_contiguous()
    assert torch.allclose(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 5), (1, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layer(products, shape, bias):
    layer = nn.Linear(5, 7, bias=bias)
    x = torch.randn(shape)
    assert_equal(layer(x), by_torch(layer, x))
    assert len(products) == 1


def test_linear_layer_takes_what_does_not_lie_in_one_piece():
    layer = nn.Linear(5, 7)
    x = torch.randn(2, 5, 9).transpose(1, 2)
    assert_equal(layer(x), by_torch(layer, x))


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 77, 512, 513, 1023, 1024, 1500])
def test_products_of_any_number_of_rows(rows):
    layer = nn.Linear(24, 40)
    x = torch.randn(rows, 24)
    assert_equal(layer(x), by_torch(layer, x))


@pytest.mark.parametrize("channels, out, kernel, padding, size", [(8, 4096, 3, 1, 40), (16, 2100, 3, 3, 30)])
def test_convolution_with_more_results_than_pixels_of_a_large_image(channels, out, kernel, padding, size):
    layer = nn.Conv2d(channels, out, kernel, padding=padding)
    x = torch.randn(1, channels, size, size)
    assert_equal(layer(x), by_torch(layer, x))


def test_few_different_numbers_of_rows_are_computed():
    """Code is made, and kept, for each."""
    found = {cpu_layers.padded(rows) for rows in range(1, cpu_layers.MANY_ROWS)}
    prompts = {rows for rows in found if rows % cpu_layers.PROMPT_ROWS == 0}
    assert len(found - prompts) == cpu_layers.MOST_FEW_ROWS + 16 + 4 + 4
    assert len(prompts) == cpu_layers.MANY_ROWS // cpu_layers.PROMPT_ROWS
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
    assert_equal(layer(x), by_torch(layer, x))
    assert len(products) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},  # of many pixels
        {"padding": "same"},
        {"padding": 1, "groups": 2, "out_channels": 512},
        {"padding": 1, "padding_mode": "circular", "out_channels": 512},
        {"padding": (2, 1), "padding_mode": "reflect", "stride": 2},
    ],
)
def test_other_convolutions_are_no_products(products, options):
    layer = nn.Conv2d(**{"in_channels": 4, "out_channels": 8, "kernel_size": 3} | options)
    x = torch.randn(1, 4, 8, 8)
    assert_equal(layer(x), by_torch(layer, x))
    assert not products


@pytest.mark.parametrize("size", [(16, 32), (23, 25)])
def test_convolution_of_doubled_pixels(size):
    layer = nn.Conv2d(6, 5, 3, padding=1)
    x = torch.randn(2, 6, *size)
    assert doubles_apart(x, layer)
    expected = by_torch(layer, F.interpolate(x, scale_factor=2.0, mode="nearest"))
    assert_equal(cpu_layers.double_and_convolve(x, layer), expected)


def doubles_apart(x, layer):
    return cpu_layers.doubles_apart(x, layer.weight, layer.bias, layer)


def test_few_doubled_pixels_and_other_convolutions_are_left_alone():
    x = torch.randn(1, 4, 32, 32)
    layer = nn.Conv2d(4, 4, 3, padding=1)
    assert doubles_apart(x, layer)
    assert not doubles_apart(x[..., :4], layer)
    tiled = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
    for other in (tiled, copy.deepcopy(layer).half()):
        assert not doubles_apart(x, other)


def test_convolutions_that_extensions_have_changed_make_the_same_of_doubled_pixels():
    """To the last bit, where they come to torch's own function in the end."""
    x = torch.randn(1, 4, 32, 32)
    layer = nn.Conv2d(4, 4, 3, padding=1)
    expected = cpu_layers.double_and_convolve(x, layer)
    hooked, replaced, inner = (copy.deepcopy(layer) for _ in range(3))
    seen = []
    hooked.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    replaced.forward = layer.forward
    inner._conv_forward = layer._conv_forward
    own_kind = type("Conv2d", (nn.Conv2d,), {})(4, 4, 3, padding=1)
    own_kind.load_state_dict(layer.state_dict())
    for changed in (hooked, replaced, inner, own_kind):
        assert torch.equal(cpu_layers.double_and_convolve(x, changed), expected)
    assert torch.equal(seen[0], F.interpolate(x, scale_factor=2.0, mode="nearest"))


def test_doubled_pixels_that_an_extension_writes_to_are_convolved_as_they_are():
    x = torch.randn(1, 4, 32, 32)
    layer = nn.Conv2d(4, 4, 3, padding=1)
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0].mul_(2),))
    expected = by_torch(layer, F.interpolate(x, scale_factor=2.0, mode="nearest"))
    assert_equal(cpu_layers.double_and_convolve(x, layer), expected)


@pytest.mark.parametrize("name", ["forward", "_conv_forward"])
def test_what_an_extension_puts_into_torchs_convolution_is_called(monkeypatch, products, name):
    layer = nn.Conv2d(2, 256, 3, padding=1)
    monkeypatch.setattr(nn.Conv2d, name, lambda self, input, *_: input * 2)
    assert torch.equal(layer(torch.ones(1, 2, 4, 4)), torch.full([1, 2, 4, 4], 2.0))
    assert torch.equal(cpu_layers.double_and_convolve(torch.ones(1, 2, 4, 4), layer), torch.full([1, 2, 8, 8], 2.0))
    assert not products


def test_a_convolution_that_an_extension_has_changed_computes_as_by_torch(products):
    layer = nn.Conv2d(2, 256, 3, padding=1)
    x = torch.randn(1, 2, 4, 4)
    layer.padding = 0  # torch takes numbers, too
    assert torch.equal(layer(x), by_torch(layer, x))
    other = torch.randn(256, 2, 1, 1)
    assert torch.equal(layer._conv_forward(x, other, None), F.conv2d(x, other))
    assert not products


def test_training_and_other_types_are_torchs(products):
    layer = nn.Linear(5, 5)
    x = torch.randn(32, 5)
    with torch.enable_grad():
        layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype is torch.bfloat16
    assert layer(x[:0]).shape == (0, 5)
    assert copy.deepcopy(layer).double()(x.double()).dtype is torch.float64
    assert copy.deepcopy(layer).to("meta")(x.to("meta")).shape == (32, 5)
    assert not products


def test_biases_of_all_kinds():
    layer = nn.Linear(5, 20)
    x = torch.randn(32, 5)
    for bias in (torch.randn(40)[::2], torch.randn(1).expand(20)):
        layer.bias = nn.Parameter(bias)
        assert_equal(layer(x), by_torch(layer, x))


def test_inputs_that_do_not_fit_are_refused_in_torchs_words():
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        nn.Linear(5, 20)(torch.randn(32, 6))


def test_compilers_get_torchs_own_operations():
    layers = nn.Sequential(nn.Conv2d(2, 64, 3, padding=1), nn.Flatten(), nn.Linear(256, 3))
    x = torch.randn(1, 2, 2, 2)
    graph = str(torch.jit.trace(layers, x).inlined_graph)
    assert "aten::linear" in graph and "aten::_convolution" in graph and "mkldnn" not in graph
    assert "mkldnn" not in str(torch.export.export(layers, (x,)).graph)


def test_a_forward_that_an_extension_puts_into_torch_is_called(monkeypatch, products):
    layer = nn.Linear(5, 5)
    monkeypatch.setattr(nn.Linear, "forward", lambda self, input: input * 2)
    assert torch.equal(layer(torch.ones(32, 5)), torch.full([32, 5], 2.0))
    assert not products


def test_changed_weights_count_at_once():
    layer = nn.Conv2d(2, 64, 3, padding=1)
    x = torch.randn(1, 2, 4, 4)
    before = layer(x)
    layer.weight.data *= 2
    layer.bias.zero_()
    assert_equal(layer(x), F.conv2d(x, layer.weight, padding=1))
    assert not torch.allclose(layer(x), before)


def test_layers_stay_what_others_take_them_for():
    """v1.10.1's networks and extensions look for layers by their exact class."""
    assert type(nn.Linear(2, 3)) is nn.Linear and type(nn.Conv2d(2, 3, 1)) is nn.Conv2d
    assert nn.Linear.forward is cpu_layers.linear_forward


def test_what_an_extension_has_put_into_torch_before_stays(monkeypatch):
    replaced = lambda self, input: input  # noqa: E731
    monkeypatch.setattr(nn.Linear, "forward", replaced)
    cpu_layers.install()
    assert nn.Linear.forward is replaced


@pytest.fixture
def each_number():
    """Calls a function with 1 to 5 threads, or other numbers; says whether all results are the same to the last bit."""
    before = torch.get_num_threads()

    def are_same(call, numbers=(1, 2, 3, 4, 5)):
        found = []
        for count in numbers:
            torch.set_num_threads(count)
            found.append(call())
        return all(torch.equal(result, found[0]) for result in found)

    yield are_same
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 9, 77, 300, 1500])
def test_products_are_the_same_with_any_number_of_threads(each_number, rows):
    layer = nn.Linear(320, 128)
    x = torch.randn(rows, 320)
    assert each_number(lambda: layer(x), (1, 2, 3, 5, 8, 16, 32))


@pytest.mark.parametrize(
    "batch, channels, size, out, kernel",
    [
        (2, 64, 32, 64, 1),
        (1, 128, 40, 64, 1),
        (1, 32, 16, 64, 1),
        (1, 4, 64, 64, 3),
        (2, 64, 33, 32, 3),
        (1, 320, 8, 4, 3),
    ],
)
def test_convolutions_are_the_same_with_any_number_of_threads(each_number, batch, channels, size, out, kernel):
    layer = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
    x = torch.randn(batch, channels, size, size)
    assert each_number(lambda: layer(x), (1, 2, 3, 5, 8, 16, 32))


ACTIVATIONS = {
    "silu": nn.SiLU,
    "geglu": lambda: activations.GEGLU(8, 256),
    "gelu": lambda: activations.GELU(8, 256),
    "gelu by tanh": lambda: activations.GELU(8, 256, approximate="tanh"),
    "quick": QuickGELUActivation,
}


@pytest.mark.parametrize("rows", [257, 300, 825])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_the_same_with_any_number_of_threads(each_number, name, rows):
    cpu_layers.install_activations()
    layer = ACTIVATIONS[name]()
    x = torch.randn(rows, 8 if hasattr(layer, "proj") else 256)
    assert each_number(lambda: layer(x))
    assert torch.allclose(layer(x), by_torch(layer, x), atol=1e-5)


def test_shares_of_threads_are_whole_vectors():
    for shares in (cpu_layers.usual_shares, cpu_layers.shares_of_gelu):
        for numbers in (1, 2**15, 2**15 + 1, 2**16 + 63, 98304, 98305, 10**6 + 7):
            even = cpu_layers.even_numbers(numbers, shares)
            count = shares(even)
            assert count == 1 or even % (count * cpu_layers.VECTORS) == 0
            assert 0 <= numbers - even < 2 * torch.get_num_threads() * cpu_layers.VECTORS


@pytest.mark.parametrize(
    "batch, tokens, keys, width",
    [
        (2, 256, 77, 40),
        (2, 256, 256, 8),
        (1, 100, 100, 16),
        (2, 30, 77, 64),
        (1, 70, 231, 16),
        (1, 520, 520, 40),
        (1, 1024, 1024, 8),
        (2, 64, 154, 160),
        (1, 16, 77, 16),
    ],
)
@pytest.mark.parametrize("heads", [1, 2, 8, 17])
def test_attention_is_the_same_with_any_number_of_threads(each_number, heads, batch, tokens, keys, width):
    q, k, v = (torch.randn(batch, n, heads, width).transpose(1, 2) for n in (tokens, keys, keys))
    assert each_number(lambda: attention.scaled_dot_product(q, k, v), (1, 2, 3, 5, 8, 16, 32))


def test_means_are_the_same_with_any_number_of_threads(each_number):
    z = torch.randn(2, 154, 768)
    assert each_number(lambda: sd_emphasis.mean_of_all(z))


def job_of(kind):
    given = {"prompt": "a (red:1.3) apple", "steps": 2, "seed": 3, "sampler_name": "Euler a", "cfg_scale": 7}
    if kind == "txt2img":
        p = processing.StableDiffusionProcessingTxt2Img(
            **given, width=72, height=136, batch_size=3, enable_hr=True, hr_scale=1.5, denoising_strength=0.6
        )
    elif kind == "tiling":
        p = processing.StableDiffusionProcessingTxt2Img(**given, width=136, height=200, batch_size=3, tiling=True)
    else:
        image = Image.linear_gradient("L").convert("RGB").resize((128, 128))
        p = processing.StableDiffusionProcessingImg2Img(
            **given, width=128, height=128, init_images=[image], denoising_strength=0.7
        )
    p.do_not_save_samples = p.do_not_save_grid = True
    return torch.from_numpy(np.array(processing.process_images(p).images[-1]))


@pytest.mark.parametrize("kind", ["txt2img", "img2img", "tiling"])
def test_images_are_the_same_with_any_number_of_threads(sd_model, each_number, kind):
    assert each_number(lambda: job_of(kind))


def test_networks_of_sdxl_are_the_same_with_any_number_of_threads(tmp_path, sd_model, each_number):
    path = tmp_path / "tiny.safetensors"
    tiny_checkpoints.write("sdxl", path)
    model = model_load.build(model_load.prepare(str(path), {}), CPU)
    texts = SdConditioning(["a red apple"], width=128, height=128)
    latent = torch.randn(2, 4, 24, 20)

    def call():
        conds = model.get_learned_conditioning(texts)
        conds = {name: torch.cat([value, value]) for name, value in conds.items()}
        denoised = model.apply_model(latent, torch.tensor([500, 20]), conds)
        return model.decode_first_stage(denoised[:1])

    assert each_number(call)


@pytest.fixture
def three_threads(monkeypatch):
    """Three threads, of which others may need the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(cpu_layers, "threads", 3)
    monkeypatch.setattr(launch_process, "may_change_threads", lambda: True)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("may, free, wanted", [(True, 1, 1), (True, 2, 2), (True, 3, 3), (False, 1, 3)])
def test_as_many_threads_as_others_leave_cores(monkeypatch, three_threads, may, free, wanted):
    monkeypatch.setattr(launch_process, "may_change_threads", lambda: may)
    monkeypatch.setattr(cpu_load, "cores_for", lambda most: free)
    with pytest.raises(KeyError), cpu_layers.with_free_cores():
        assert torch.get_num_threads() == wanted
        raise KeyError
    assert torch.get_num_threads() == 3


def test_number_of_threads_that_somebody_has_chosen_stays(monkeypatch, three_threads):
    monkeypatch.setattr(cpu_load, "cores_for", lambda most: 1)
    torch.set_num_threads(2)
    with cpu_layers.with_free_cores():
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    "owner, name", [(nn.Linear, "forward"), (nn.Conv2d, "forward"), (nn.Conv2d, "_conv_forward"), (nn.SiLU, "forward")]
)
def test_beside_functions_of_extensions_the_number_of_threads_stays(monkeypatch, three_threads, owner, name):
    monkeypatch.setattr(cpu_load, "cores_for", lambda most: 1)
    monkeypatch.setattr(owner, name, lambda self, input: input)
    with cpu_layers.with_free_cores():
        assert torch.get_num_threads() == 3


def test_what_extensions_have_put_in_the_place_of_functions_is_kept(monkeypatch):
    for owner, name in ((nn.SiLU, "forward"), (activations.GEGLU, "gelu"), (QuickGELUActivation, "forward")):
        theirs = lambda self, input: input  # noqa: E731
        monkeypatch.setattr(owner, name, theirs)
        cpu_layers.install()
        cpu_layers.install_activations.__wrapped__()
        assert getattr(owner, name) is theirs
