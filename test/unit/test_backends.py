"""Backends compute what torch does, of any size and with whatever is in the weights, or step aside."""

import sys

import pytest
import torch

from modules import backends, cache, call_queue, devices, initialize_util, model_load, sd_hijack_unet, sd_models, shared
from modules.backends import openvino as openvino_backend
from modules.backends import torch_compile
from modules.model_patches import circular_padding
from modules.placement import Placement
from test.unit.test_weight_patches import changes
from tools import tiny_checkpoints

CPU = torch.device("cpu")
SHALLOW = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}


@pytest.fixture(scope="module")
def build():
    """build(dtype) returns a model with a small U-Net, which is converted soon; another one each time."""
    recipe = tiny_checkpoints.replace(tiny_checkpoints.SD1, unet={**tiny_checkpoints.SD1.unet, **SHALLOW})
    weights = tiny_checkpoints.make(recipe).weights()

    def made(dtype=torch.float32):
        prepared = model_load.prepare("a small model", {}, state_dict=dict(weights))
        return model_load.build(prepared, Placement(CPU, dtype, dtype, dtype))

    return made


def predict(model, rows=2, size=(16, 16), tokens=77):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 4, *size, generator=generator)
    width = model.network("denoiser").config.cross_attention_dim
    text = torch.randn(rows, tokens, width, generator=generator)
    with torch.no_grad():
        return model.apply_model(x, torch.linspace(900, 100, rows), text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where backends keep things; one for the tests that may find what others have left."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def use(monkeypatch, folder):
    """use(flag=value) chooses a backend by its flag."""

    def choose(**flags):
        for name, value in flags.items():
            monkeypatch.setattr(shared.cmd_opts, name, value)

    choose(cpu_backend=None, torch_compile=False)
    monkeypatch.setattr(cache, "cache_dir", str(folder))
    return choose


@pytest.fixture
def openvino(use):
    pytest.importorskip("openvino", reason="pip install openvino")
    cache.cache("openvino-calls").clear()
    return lambda: use(cpu_backend="openvino")


@pytest.fixture(scope="module")
def model(build):
    return build()


def test_without_a_flag_torch_computes(use, model):
    predict(model)
    assert model.model.runner.title is None


def test_what_torch_computes_is_a_tensor_like_any_other(use, model, monkeypatch):
    """An untouched network computes in inference mode, whose tensors may not be written to; extensions never see it."""
    forward, seen = torch.nn.SiLU.forward, set()

    def watching(layer, input):
        seen.add(torch.is_inference_mode_enabled())
        return forward(layer, input)

    watching.__module__ = forward.__module__
    monkeypatch.setattr(torch.nn.SiLU, "forward", watching)
    plain = predict(model)
    assert seen == {True} and not plain.is_inference()
    plain += 1
    seen.clear()
    take = put_hook(model)
    predict(model)
    take()
    assert seen == {False}


def test_gradients_are_to_be_had(use, model):
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    text = torch.randn(1, 77, model.network("denoiser").config.cross_attention_dim)
    model.apply_model(x, torch.tensor([500.0]), text).sum().backward()
    assert x.grad.abs().max() > 0


def test_openvino_computes_any_size_and_batch_from_one_conversion(openvino, model, build, folder, monkeypatch):
    calls = [{}, {"rows": 1, "size": (8, 24)}, {"rows": 3, "size": (13, 10), "tokens": 154}]
    expected = [predict(model, **call) for call in calls]
    openvino()
    for call, output in zip(calls, expected, strict=True):
        torch.testing.assert_close(predict(model, **call), output, atol=1e-4, rtol=0)
        assert model.model.runner.title == "OpenVINO"
    (kept,) = (folder / "openvino").iterdir()
    assert sum(file.stat().st_size for file in kept.iterdir()) < 3e6  # no weights

    monkeypatch.setattr(openvino_backend, "convert", None)  # another model of these shapes needs no conversion
    other = build()
    other.model.diffusion_model.out[2].bias.add_(1)
    torch.testing.assert_close(predict(other), expected[0] + 1, atol=1e-4, rtol=0)
    assert other.model.runner.title == "OpenVINO"


def test_openvino_follows_weights(openvino, build):
    model = build()
    plain = predict(model)
    model.patches.put("networks", changes)
    changed = predict(model)
    assert not torch.allclose(plain, changed, atol=1e-2)
    openvino()
    torch.testing.assert_close(predict(model), changed, atol=1e-4, rtol=0)
    model.patches.take("networks")
    torch.testing.assert_close(predict(model), plain, atol=1e-4, rtol=0)
    model.load_state_dict({key: tensor * 1.01 for key, tensor in model.state_dict().items()})
    assert not torch.allclose(predict(model), plain, atol=1e-2)
    assert model.model.runner.title == "OpenVINO"


def test_openvino_begins_anew_where_what_it_kept_is_damaged(openvino, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(cache, "cache_dir", str(tmp_path))
    layer, x = torch.nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False), torch.randn(2, 4, 8, 8)
    for _ in range(2):
        torch.testing.assert_close(openvino_backend.OpenVinoNetwork(layer)(x), layer(x))
        (kept,) = (tmp_path / "openvino").iterdir()
        assert (kept / "model.xml").stat().st_size > 1000
        (kept / "model.xml").write_text("<net")
    assert caplog.text.count("is damaged and made anew") == 1


def test_openvino_keeps_as_many_sizes_as_memory_has_room_for(openvino, monkeypatch):
    layer = torch.nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
    network = openvino_backend.OpenVinoNetwork(layer)

    def kept_after(*sides):
        for side in sides:
            x = torch.randn(2, 4, side, 8)
            torch.testing.assert_close(network(x), layer(x))
        return list(network.compiled.values())

    several = kept_after(8, 16, 24, 32, 16)
    assert len(several) == openvino_backend.MOST_SIZES and kept_after(8, 24, 32, 16) == several
    assert kept_after(40, 24, 32, 16)[1:] == several[1:]
    monkeypatch.setattr(devices, "free_memory", lambda device: 0)
    (one,) = kept_after(8)
    assert kept_after(16, 24, 8) == [one]


def test_openvino_gives_memory_back_with_an_unloaded_model(openvino, build):
    openvino()
    model = build()
    expected = predict(model)
    (compiled,) = model.model.runner._compiled.compiled.values()
    sd_models.send_model_to_cpu(model)
    assert not model.model.runner._compiled.compiled
    assert torch.equal(predict(model), expected)
    assert [*model.model.runner._compiled.compiled.values()] != [compiled]


CALLED_LAST = [{}, {"rows": 1, "tokens": 154}]


def prepare(model):
    """Begins to prepare as for a new start of the program, and returns what goes on with it."""
    before = model.model.runner
    for call in CALLED_LAST:
        predict(model, **call)
    runner = model.model.runner = backends.Runner()
    assert before._compiled.compiled
    return runner, runner.prepare(model.model.diffusion_model, CPU)


def test_openvino_is_prepared_for_what_it_was_called_with(openvino, build, monkeypatch):
    openvino()
    model = build()
    runner, parts = prepare(model)
    next(parts)
    ((_, (latent, *_)),) = runner._compiled.compiled
    assert latent[0] == CALLED_LAST[-1]["rows"]  # what was used last comes first
    assert list(parts) == [None]
    ready = set(runner._compiled.compiled.values())
    assert len(ready) == 2
    assert [sizes[0][0] for _, sizes in runner._compiled.compiled] == [2, 1]  # and is the last to make room
    runner.title = None
    with monkeypatch.context() as without:
        without.setattr(runner._compiled, "_compile", None)
        outputs = [predict(model, **call) for call in CALLED_LAST]
    assert runner.title == "OpenVINO"
    other = build()
    assert all(torch.equal(predict(other, **call), out) for call, out in zip(CALLED_LAST, outputs, strict=True))
    assert list(runner.prepare(model.model.diffusion_model, CPU)) == [None, None]
    assert set(runner._compiled.compiled.values()) == ready


def test_openvino_stops_preparing_what_has_changed_or_was_unloaded(openvino, build):
    openvino()
    model = build()
    expected = predict(model)
    runner, parts = prepare(model)
    next(parts)
    model.model.diffusion_model.out[2].bias.add_(1)
    assert list(parts) == [] and not runner._compiled.compiled
    torch.testing.assert_close(predict(model), expected + 1, atol=1e-4, rtol=0)

    runner, parts = prepare(model)
    next(parts)
    sd_models.send_model_to_cpu(model)
    assert list(parts) == [] and not runner._compiled.compiled

    runner, parts = prepare(model)
    sd_models.send_model_to_cpu(model)
    assert list(parts) == [] and runner._compiled is None
    assert list(runner.prepare(model.model.diffusion_model, CPU)) == [None, None]


def test_nothing_is_prepared_that_would_not_be_used(openvino, use, build, model):
    openvino()
    _, parts = prepare(model)
    take = put_hook(model)
    assert list(parts) == []
    take()
    half = build(torch.float16)
    assert list(half.model.runner.prepare(half.model.diffusion_model, CPU)) == []
    use(cpu_backend=None)
    assert list(model.model.runner.prepare(model.model.diffusion_model, CPU)) == []
    assert half.model.runner.title is None and model.model.runner.title is None


def test_a_loaded_model_is_prepared_in_turn_with_jobs(openvino, build, monkeypatch):
    openvino()
    model = build()
    runner, _ = prepare(model)
    monkeypatch.setattr(sd_models.model_data, "sd_model", model)
    with call_queue.gpu_job("a job"):
        initialize_util.prepare_model()
        (waiting,) = call_queue.queue.waiting()
        assert runner._compiled is None
    waiting.future.result()
    work_off_queue()
    assert len(runner._compiled.compiled) == 2


def work_off_queue():
    """Waits for all that is queued, and for what that queues."""
    while queued := call_queue.queue.live():
        queued[0].future.result()


def test_a_model_is_not_prepared_that_is_no_longer_the_current_one(openvino, build, monkeypatch):
    openvino()
    model = build()
    runner, _ = prepare(model)
    monkeypatch.setattr(sd_models.model_data, "sd_model", model)
    with call_queue.gpu_job("a job"):
        initialize_util.prepare_model()
        monkeypatch.setattr(sd_models.model_data, "sd_model", build())
    work_off_queue()
    assert runner._compiled is None


def test_a_model_is_not_prepared_that_is_gone(openvino, build, monkeypatch, caplog):
    openvino()
    model = build()
    runner, _ = prepare(model)
    monkeypatch.setattr(sd_models.model_data, "sd_model", model)
    with call_queue.gpu_job("a job"):
        initialize_util.prepare_model()
        sd_models.send_model_to_trash(model)
    work_off_queue()
    assert not runner._compiled.compiled and not [record for record in caplog.records if record.levelname == "ERROR"]


def calls_of(*sides):
    """Returns what is noted of calls with maps of these sides."""
    return tuple((((0, 4), ("context", 3)), ((2, 4, side, side), (2, 77, 768))) for side in sides)


def noting(key, *sides):
    """Returns the calls of networks with the shapes of a key, as a new network reads and continues them."""
    recent = openvino_backend.RecentCalls(key)
    for call in calls_of(*sides):
        recent.note(call)
    return recent


def test_openvino_remembers_sizes_as_long_as_they_are_used():
    recent = noting("a key", 64, 128, 64, 128)
    assert recent.read() == calls_of(64, 128)
    for call in calls_of(*[128] * openvino_backend.RECENT_CALLS):
        recent.note(call)
    assert recent.read() == calls_of(128)


def test_openvino_remembers_the_sizes_in_the_order_of_their_last_use(use):
    assert noting("another key", 8, 16, 24, 32, 40, 8, 8).read() == calls_of(16, 24, 32, 40, 8)
    assert noting("another key", 24, 24).read() == calls_of(16, 32, 40, 8, 24)  # from one start to the next
    many = range(openvino_backend.RECENT_CALLS + 8, 0, -1)
    for side in many:
        latest = noting("another key", side)
    assert latest.read() == calls_of(*many[8:])


def test_openvino_writes_no_order_down_with_each_of_calls_that_alternate(use, monkeypatch):
    recent = noting("one more key", 8, 16)
    monkeypatch.setattr(cache, "cache", None)
    for call in calls_of(*[8, 16] * 5):
        recent.note(call)


def test_openvino_leaves_other_types_to_torch(openvino, build, caplog):
    half = build(torch.float16)
    expected = predict(half)
    openvino()
    for _ in range(2):
        assert torch.equal(predict(half), expected) and half.model.runner.title is None
    assert caplog.text.count("the weights are in torch.float16") == 1


def test_a_missing_package_is_named_once(use, build, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openvino", None)
    model = build()
    expected = predict(model)
    use(cpu_backend="openvino")
    for _ in range(2):
        assert torch.equal(predict(model), expected)
    assert caplog.text.count("pip install openvino") == 1 and model.model.runner.title is None


def put_hook(model):
    attention = model.model.diffusion_model.middle_block[1].transformer_blocks[0].attn1
    return attention.register_forward_hook(lambda layer, args, output: output + 1).remove


def put_forward(model):
    layer = model.model.diffusion_model.middle_block[0]
    layer.forward = lambda x, emb: type(layer).forward(layer, x, emb) + 1
    return lambda: delattr(layer, "forward")


def put_class_forward(model):
    kind = type(model.model.diffusion_model.middle_block[0])
    original = kind._forward
    kind._forward = lambda layer, x, emb: original(layer, x, emb) + 1
    return lambda: setattr(kind, "_forward", original)


def put_circular_padding(model):
    model.patches.put("padding", circular_padding)
    return lambda: model.patches.take("padding")


def put_cat(model):
    sd_hijack_unet.th.cat = lambda tensors, dim: torch.cat([tensors[0], tensors[1] * 0.5], dim)
    return lambda: delattr(sd_hijack_unet.th, "cat")


CHANGES = [put_hook, put_forward, put_class_forward, put_circular_padding, put_cat]


@pytest.mark.parametrize("put", CHANGES)
def test_what_others_put_into_a_network_is_heeded(openvino, model, put, caplog):
    expected = predict(model)
    take = put(model)
    changed = predict(model)
    assert not torch.allclose(expected, changed, atol=1e-3)
    openvino()
    for _ in range(2):
        assert torch.equal(predict(model), changed)
    assert caplog.text.count("OpenVINO is not used") == 1 and model.model.runner.title is None
    take()
    torch.testing.assert_close(predict(model), expected, atol=1e-4, rtol=0)
    assert model.model.runner.title == "OpenVINO"


@pytest.fixture
def graphs(use, monkeypatch):
    """The graphs that torch.compile has made; they are run as they are, without a compiler."""
    made = []

    def run(graph, inputs):
        made.append(graph)
        return graph.forward

    monkeypatch.setitem(backends.BACKENDS, "torch.compile", lambda: torch_compile.TorchCompile(run))
    use(torch_compile=True)
    yield made
    torch._dynamo.reset()


def test_torch_compile_makes_few_graphs_and_none_for_sizes_and_networks(graphs, use, build):
    model = build()
    first = predict(model)
    predict(model, rows=3, size=(8, 24), tokens=154)
    count = len(graphs)
    assert 0 < count <= 6
    predict(model, rows=5, size=(24, 24), tokens=231)
    model.patches.put("networks", changes)
    changed = predict(model)
    assert len(graphs) == count and model.model.runner.title == "torch.compile"

    take = put_hook(model)
    hooked = predict(model)
    assert model.model.runner.title is None and len(graphs) == count
    use(torch_compile=False)
    with torch.compiler.set_stance("force_eager"):
        assert torch.allclose(predict(model), hooked, atol=1e-4)
        take()
        assert torch.allclose(predict(model), changed, atol=1e-4)
        model.patches.take("networks")
        assert torch.allclose(predict(model), first, atol=1e-4)


def test_what_cannot_be_compiled_is_computed_and_said_once(graphs, use, build, monkeypatch, caplog):
    def fail(graph, inputs):
        raise ValueError("no such thing")

    model = build()
    use(torch_compile=False)
    expected = predict(model)
    use(torch_compile=True)
    monkeypatch.setitem(backends.BACKENDS, "torch.compile", lambda: torch_compile.TorchCompile(fail))
    for _ in range(2):
        assert torch.equal(predict(model), expected) and model.model.runner.title is None
    assert caplog.text.count("torch.compile is not used") == 1 and "no such thing" in caplog.text


def test_torch_compile_names_the_compiler_that_is_missing(use, build, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    model = build()
    expected = predict(model)
    use(torch_compile=True)
    assert torch.equal(predict(model), expected)
    assert "install g++" in caplog.text and model.model.runner.title is None
