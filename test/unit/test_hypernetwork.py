import hashlib
import logging
import os

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
def test_layers_of_a_module(options, layers):
    module = HypernetworkModule(4, **options)
    assert [type(layer).__name__ for layer in module.linear] == layers


def test_unknown_activation_is_named():
    with pytest.raises(ModelLoadError, match='"warp"'):
        HypernetworkModule(4, hypernetwork_state(4), activation_func="warp")


NO_FUNCTION_OF_ONE_WIDTH = {"glu", "multiheadattention", "threshold"}


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("name", sorted(set(HypernetworkModule.activation_dict) - NO_FUNCTION_OF_ONE_WIDTH))
@pytest.mark.parametrize("options", [{}, {"activate_output": True, "add_layer_norm": True}])
def test_files_with_every_activation_are_read_as_they_were_written(networks, name, options):
    written = Hypernetwork("x", [6], [1, 2, 0.5, 1], name, dropout_structure=[0, 0.3, 0, 0], **options)
    for parameter in written.weights():
        parameter.normal_()
    written.save(str(networks / "x.pt"))
    read = Hypernetwork()
    read.load(str(networks / "x.pt"))
    assert (read.activation_func, read.use_dropout, read.step) == (name, True, 0)
    x = torch.randn(1, 3, 6)
    for before, after in zip(written.modules(), read.modules(), strict=True):
        assert torch.equal(after(x), before(x))
        dropouts = [i for i, layer in enumerate(after.linear) if isinstance(layer, nn.Dropout)]
        assert len(dropouts) == 1 and f"linear.{dropouts[0] + 1}.weight" in after.state_dict()


@pytest.mark.parametrize("weight_init", ["Normal", "XavierUniform", "XavierNormal", "KaimingUniform", "KaimingNormal"])
def test_new_modules_begin_with_small_weights_and_no_biases(weight_init):
    new = Hypernetwork("x", [8], [1, 2, 1], "relu", weight_init, add_layer_norm=True)
    (keys, values) = new.layers[8]
    assert all(not layer.bias.any() and layer.weight.any() for layer in (keys.linear[0], keys.linear[2]))
    assert not torch.equal(keys.linear[0].weight, values.linear[0].weight)
    assert len(new.weights()) == 2 * 2 * 4
    assert not any(weight.requires_grad for weight in new.weights())


def test_old_parameter_names_are_taken():
    state = hypernetwork_state(4)
    old = {key.replace("linear.0", "linear1").replace("linear.1", "linear2"): value for key, value in state.items()}
    assert HypernetworkModule.fix_old_state_dict(old).keys() == state.keys()
    x = torch.randn(1, 4)
    assert torch.equal(HypernetworkModule(4, old)(x), HypernetworkModule(4, state)(x))


@pytest.mark.parametrize(
    ("arguments", "dropout"),
    [
        (((1, 2, 1), False, True), [0, 0, 0]),
        (((1, 2, 2, 1), True, False), [0, 0.3, 0, 0]),
        (((1, 2, 2, 1), True, True), [0, 0.3, 0.3, 0]),
        ((None, True, True), [0, 0.3, 0]),
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


@pytest.mark.parametrize(
    "content",
    [
        {4: hypernetwork_state(4)},
        {4: (hypernetwork_state(4),)},
        {4: (hypernetwork_state(4), hypernetwork_state(6))},
        {4: ([1], [2])},
        {4: "text"},
        {4: (hypernetwork_state(4), hypernetwork_state(4)), "layer_structure": ["a", 1]},
        {4: (hypernetwork_state(4), hypernetwork_state(4)), "layer_structure": 5},
        {4: (hypernetwork_state(4), hypernetwork_state(4)), "layer_structure": [1, 1e12, 1]},
        {4: (hypernetwork_state(4), hypernetwork_state(4)), "is_layer_norm": True},
        {4: (hypernetwork_state(4), hypernetwork_state(4)), "dropout_structure": [0.5]},
        {4: (hypernetwork_state(4), hypernetwork_state(4)), "activation_func": "multiheadattention"},
        {4: (hypernetwork_state(4), hypernetwork_state(4)), "activation_func": "warp"},
    ],
)
def test_damaged_file_is_named_in_one_line(networks, content, caplog):
    torch.save(content, networks / "a.pt")
    shared.reload_hypernetworks()
    hypernetwork.load_hypernetworks(["a"])
    (record,) = [record for record in caplog.records if record.name == "modules.errors"]
    assert "a.pt" in record.message and "\n" not in record.message and not record.exc_info
    assert shared.loaded_hypernetworks == []


def test_half_precision_files_without_a_structure_compute_in_float32(networks):
    states = [{key: value.half() for key, value in hypernetwork_state(4).items()} for _ in "kv"]
    torch.save({4: states, "layer_structure": None, "name": None}, networks / "a.pt")
    loaded = Hypernetwork()
    loaded.load(str(networks / "a.pt"))
    assert {weight.dtype for weight in loaded.weights()} == {torch.float32}


def test_linked_folders_are_listed(networks, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save_hypernetwork(elsewhere / "a.pt")
    (networks / "link").symlink_to(elsewhere)
    (networks / "folder.pt").mkdir()
    (networks / os.fsdecode(b"odd\xff.pt")).touch()
    shared.reload_hypernetworks()
    assert shared.hypernetworks == {"a": str(networks / "link" / "a.pt")}


def test_file_that_has_changed_is_read_again(networks):
    save_hypernetwork(networks / "a.pt")
    shared.reload_hypernetworks()
    hypernetwork.load_hypernetworks(["a"])
    save_hypernetwork(networks / "a.pt", step=9)
    hypernetwork.load_hypernetworks(["a"])
    (second,) = shared.loaded_hypernetworks
    assert second.step == 9
    (networks / "a.pt").unlink()
    hypernetwork.load_hypernetworks(["a"])
    assert shared.loaded_hypernetworks == [second]


def test_new_file_is_found_without_a_refresh(networks):
    shared.reload_hypernetworks()
    save_hypernetwork(networks / "new.pt")
    hypernetwork.load_hypernetworks(["new"])
    assert [loaded.name for loaded in shared.loaded_hypernetworks] == ["new"]


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


def test_attention_of_an_extension_gets_what_ours_does(networks):
    for name, options in (("a", {"size": 4}), ("b", {"size": 4, "step": 1}), ("c", {"size": 7})):
        save_hypernetwork(networks / f"{name}.pt", **options)
    shared.reload_hypernetworks()
    hypernetwork.load_hypernetworks(["a", "b", "c"], [0.5, 0.3, 1.0])
    attention = TinyAttention(6, 4)
    x, context = torch.randn(1, 2, 6), torch.randn(1, 3, 4)
    layer = nn.Module()
    with hypernetwork.applied(shared.loaded_hypernetworks, attention):
        _, k, v = attention(x, context)
        context_k, context_v = hypernetwork.apply_hypernetworks(shared.loaded_hypernetworks, context, layer)
        assert torch.equal(attention.to_k(context_k), k) and torch.equal(attention.to_v(context_v), v)
    assert torch.equal(attention.to_k(context_k), k)
    assert (layer.hyper_k, layer.hyper_v) == shared.loaded_hypernetworks[1].layers[4]
    other = torch.randn(1, 3, 5)
    assert hypernetwork.apply_single_hypernetwork(shared.loaded_hypernetworks[0], other, other) == (other, other)
