import hashlib
import logging

import pytest
import torch
from torch import nn

from modules import shared, shared_items
from modules.errors import ModelLoadError
from modules.hypernetworks import hypernetwork
from modules.hypernetworks.hypernetwork import Hypernetwork, HypernetworkModule
from modules.shared import opts
from test.unit.tiny_networks import TinyAttention, hypernetwork_state, save_hypernetwork


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """The directory of hypernetworks, with nothing listed and loaded."""
    monkeypatch.setattr(shared, "hypernetworks", {})
    monkeypatch.setattr(shared, "loaded_hypernetworks", [])
    monkeypatch.setattr(shared.cmd_opts, "hypernetwork_dir", str(tmp_path))
    return tmp_path


def test_module_adds_its_output_times_the_multiplier():
    state = hypernetwork_state(4)
    module = HypernetworkModule(4, state).eval()
    x = torch.randn(2, 3, 4)
    hidden = x @ state["linear.0.weight"].T + state["linear.0.bias"]
    change = hidden @ state["linear.1.weight"].T + state["linear.1.bias"]
    torch.testing.assert_close(module(x), x + change)
    module.multiplier = 0.5
    torch.testing.assert_close(module(x), x + change * 0.5)
    module.train()
    torch.testing.assert_close(module(x), x + change)


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({}, ["Linear", "Linear"]),
        ({"activation_func": "linear"}, ["Linear", "Linear"]),
        ({"activation_func": "relu"}, ["Linear", "ReLU", "Linear"]),
        ({"activation_func": "swish", "activate_output": True}, ["Linear", "Hardswish", "Linear", "Hardswish"]),
        (
            {"activation_func": "leakyrelu", "add_layer_norm": True},
            ["Linear", "LeakyReLU", "LayerNorm", "Linear", "LayerNorm"],
        ),
        ({"activation_func": "tanh", "dropout_structure": [0, 0.3, 0]}, ["Linear", "Tanh", "Dropout", "Linear"]),
    ],
)
def test_layers_of_a_module(options, layers, monkeypatch):
    monkeypatch.setattr(HypernetworkModule, "load_state_dict", lambda self, state: None)
    module = HypernetworkModule(4, {}, **options)
    assert [type(layer).__name__ for layer in module.linear] == layers


def test_unknown_activation_is_named():
    with pytest.raises(ModelLoadError, match='"warp"'):
        HypernetworkModule(4, hypernetwork_state(4), activation_func="warp")


def test_old_parameter_names_are_taken():
    state = hypernetwork_state(4)
    old = {key.replace("linear.0", "linear1").replace("linear.1", "linear2"): value for key, value in state.items()}
    assert hypernetwork.fix_old_state_dict(old).keys() == state.keys()
    x = torch.randn(1, 4)
    assert torch.equal(HypernetworkModule(4, old)(x), HypernetworkModule(4, state)(x))


@pytest.mark.parametrize(
    ("arguments", "dropout"),
    [
        (((1, 2, 1), False, True), [0, 0, 0]),
        (((1, 2, 2, 1), True, False), [0, 0.3, 0, 0]),
        (((1, 2, 2, 1), True, True), [0, 0.3, 0.3, 0]),
    ],
)
def test_dropout_of_files_that_do_not_tell(arguments, dropout):
    assert hypernetwork.parse_dropout_structure(*arguments) == dropout


def test_file_without_description_gets_the_defaults(networks):
    save_hypernetwork(networks / "a.pt")
    loaded = Hypernetwork()
    loaded.load(str(networks / "a.pt"))
    assert (loaded.name, loaded.step, loaded.layer_structure, loaded.activation_func) == ("a", 0, (1, 2, 1), None)
    assert (loaded.add_layer_norm, loaded.activate_output, loaded.use_dropout) == (False, True, False)
    assert [module.training for module in loaded.modules()] == [False, False]
    assert loaded.shorthash() == hashlib.sha256((networks / "a.pt").read_bytes()).hexdigest()[:10]
    assert loaded.to(torch.device("cpu")) is loaded


def test_description_is_read(networks, caplog):
    save_hypernetwork(
        networks / "a.pt", name="inner", step=9, layer_structure=[1, 2, 1], sd_checkpoint="abc", optional_info="hello"
    )
    loaded = Hypernetwork()
    with opts.overlay({"print_hypernet_extra": True}), caplog.at_level(logging.INFO):
        loaded.load(str(networks / "a.pt"))
    assert (loaded.name, loaded.step, loaded.sd_checkpoint, loaded.optional_info) == ("inner", 9, "abc", "hello")
    assert "sizes [4], structure [1, 2, 1]" in caplog.text


def test_file_of_something_else_is_refused(networks):
    torch.save({"x": torch.zeros(1)}, networks / "a.pt")
    with pytest.raises(ModelLoadError, match=r"a\.pt is not a hypernetwork"):
        Hypernetwork().load(str(networks / "a.pt"))


def test_directory_is_listed_by_stem(networks):
    (networks / "sub").mkdir()
    for name in ("B.pt", "sub/a.pt", "None.pt", "c.safetensors"):
        (networks / name).touch()
    shared.reload_hypernetworks()
    assert shared.hypernetworks == {"B": str(networks / "B.pt"), "a": str(networks / "sub" / "a.pt")}
    assert shared_items.items("hypernetworks") == ["B", "a"]


def test_loaded_ones_stay_loaded(networks):
    for name in "ab":
        save_hypernetwork(networks / f"{name}.pt")
    shared.reload_hypernetworks()
    hypernetwork.load_hypernetworks(["a"])
    (first,) = shared.loaded_hypernetworks
    hypernetwork.load_hypernetworks(["b", "a", "a"], [0.1, 0.2, 0.3])
    assert [h.name for h in shared.loaded_hypernetworks] == ["b", "a", "a"]
    assert shared.loaded_hypernetworks[1] is first and shared.loaded_hypernetworks[2] is not first
    assert [next(h.modules()).multiplier for h in shared.loaded_hypernetworks] == [0.1, 0.2, 0.3]
    hypernetwork.load_hypernetworks([])
    assert shared.loaded_hypernetworks == []


def test_missing_and_broken_ones_are_reported_and_left_out(networks, caplog):
    (networks / "broken.pt").write_bytes(b"nothing")
    shared.reload_hypernetworks()
    hypernetwork.load_hypernetworks(["broken", "missing"])
    assert shared.loaded_hypernetworks == []
    assert "broken.pt" in caplog.text and "not found: missing" in caplog.text


def test_keys_and_values_of_the_fitting_width_change_while_applied(networks):
    save_hypernetwork(networks / "a.pt", size=4)
    save_hypernetwork(networks / "b.pt", size=4)
    shared.reload_hypernetworks()
    hypernetwork.load_hypernetworks(["a", "b"], [0.5, 1.0])
    first, second = shared.loaded_hypernetworks
    cross, other = TinyAttention(6, 4), TinyAttention(6, 5)
    unet = nn.ModuleList([cross, nn.ModuleList([other])])
    x, context, wide = torch.randn(1, 2, 6), torch.randn(1, 3, 4), torch.randn(1, 3, 5)
    plain, plain_other = cross(x, context), other(x, wide)

    with hypernetwork.applied(shared.loaded_hypernetworks, unet):
        q, k, v = cross(x, context)
        assert torch.equal(q, plain[0])
        expected_k = second.layers[4][0](first.layers[4][0](context)) @ cross.to_k.weight.T + cross.to_k.bias
        expected_v = second.layers[4][1](first.layers[4][1](context)) @ cross.to_v.weight.T + cross.to_v.bias
        torch.testing.assert_close(k, expected_k)
        torch.testing.assert_close(v, expected_v)
        assert all(torch.equal(a, b) for a, b in zip(other(x, wide), plain_other, strict=True))

    assert all(torch.equal(a, b) for a, b in zip(cross(x, context), plain, strict=True))


def test_half_precision_context_keeps_its_type():
    module = HypernetworkModule(4, hypernetwork_state(4)).eval()
    context = torch.randn(1, 2, 4, dtype=torch.float16)
    (changed,) = hypernetwork.transformed_input([module], nn.Linear(4, 4), (context,))
    assert changed.dtype == torch.float16
    torch.testing.assert_close(changed, module(context.float()).half())
