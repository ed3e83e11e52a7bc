"""Networks that extensions make without filling their weights."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from modules import sd_disable_initialization


def tiny_clip():
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    return CLIPTextModel(CLIPTextConfig(**sizes, num_attention_heads=1, max_position_embeddings=4))


@pytest.mark.parametrize("make", [lambda: torch.nn.Conv2d(3, 4, 3), tiny_clip], ids=["layer", "network"])
def test_nothing_is_drawn_for_weights(loaded_program, make):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with sd_disable_initialization.DisableInitialization(disable_clip=False):
        assert make().state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    make()
    assert not torch.equal(torch.get_rng_state(), before)


def test_a_module_without_memory_is_filled_with_what_is_given():
    given = {"first.weight": torch.rand(2, 3), "first.bias": torch.rand(2), "second.weight": torch.rand(2, 2)}
    weights, original = dict(given), torch.nn.Module._load_from_state_dict
    with sd_disable_initialization.InitializeOnMeta():
        layers = {"first": torch.nn.Linear(3, 2), "second": torch.nn.Linear(2, 2, bias=False)}
        module = torch.nn.ModuleDict(layers)
    assert module["first"].weight.is_meta and not torch.nn.Linear(1, 1).weight.is_meta
    types = {"second": torch.float64, "": torch.float16}
    with sd_disable_initialization.LoadStateDictOnMeta(weights, "cpu", types):
        module.load_state_dict(weights, strict=False)
    assert torch.nn.Module._load_from_state_dict is original and not weights
    assert module["first"].weight.dtype == torch.float16 and module["second"].weight.dtype == torch.float64
    for key, weight in module.state_dict().items():
        assert torch.equal(weight, given[key].to(weight.dtype))


@pytest.mark.parametrize("make", [lambda: torch.nn.Conv2d(3, 4, 3), tiny_clip], ids=["layer", "network"])
def test_on_the_meta_device_nothing_is_drawn_for_weights_and_other_threads_fill_theirs(loaded_program, make):
    torch.manual_seed(1)
    as_ever = torch.nn.Linear(2, 2).weight
    torch.manual_seed(1)
    with sd_disable_initialization.InitializeOnMeta(), ThreadPoolExecutor(1) as other_thread:
        weights = list(make().parameters())
        elsewhere = other_thread.submit(torch.nn.Linear, 2, 2).result().weight
    assert weights and all(weight.is_meta for weight in weights)
    assert torch.equal(elsewhere, as_ever)


def test_what_was_replaced_is_put_back():
    class Thing:
        value = 1

    helper = sd_disable_initialization.ReplaceHelper()
    assert helper.replace(Thing, "value", 2) == 1 and helper.replace(Thing, "nothing", 2) is None
    assert Thing.value == 2 and not hasattr(Thing, "nothing")
    helper.restore()
    assert Thing.value == 1 and helper.replaced == []
