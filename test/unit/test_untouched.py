"""What was put into a network is seen at its next call, whatever it is, and so is that it is gone."""

from collections import OrderedDict

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, PAGIdentitySelfAttnProcessor2_0

from modules import model_load, sd_hijack_unet, untouched
from modules.placement import Placement
from modules.untouched import Watch
from test.unit.test_backends import build  # noqa: F401
from tools import tiny_checkpoints


@pytest.fixture(scope="module")
def network(build):  # noqa: F811
    return build().model.diffusion_model


@pytest.fixture
def watch(network):
    watch = Watch(network)
    assert watch.change() is None
    return watch


def hook(layer, args, output=None):
    """What an extension puts before or after a layer."""


class Extension:
    """Classes and functions of an extension, whose module is none of the program's."""

    class Processor(AttnProcessor):
        pass

    @staticmethod
    def forward(*args):
        raise AssertionError

    class ProcessorWithWeights(torch.nn.Module):
        pass


Extension.Processor.__module__ = Extension.forward.__module__ = "attention_of_somebody"
Extension.ProcessorWithWeights.__module__ = "attention_of_somebody"


def attention_of(network):
    return network.middle_block[1].transformer_blocks[0].attn1


def test_layers_are_all_of_them(network):
    assert set(untouched.layers_of(network)) == set(network.modules())


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks(network, watch, register):
    handle = getattr(network.out[2], register)(hook)
    assert watch.change() == f"Conv2d has a hook ({__name__}.hook)"
    handle.remove()
    assert watch.change() is None


def test_hooks_that_replaced_all_others(network, watch, monkeypatch):
    monkeypatch.setattr(network.out[2], "_forward_hooks", OrderedDict())
    assert watch.change() is None
    network.out[2].register_forward_hook(hook)
    assert "Conv2d has a hook" in watch.change()


@pytest.mark.parametrize("name", untouched.CALLED)
def test_functions_of_a_layer(network, watch, monkeypatch, name):
    monkeypatch.setattr(network.middle_block[0], name, Extension.forward, raising=False)
    assert watch.change() == f"a ResBlock has another {name} (attention_of_somebody.Extension.forward)"
    monkeypatch.undo()
    assert watch.change() is None


def test_functions_of_a_class(network, watch, monkeypatch):
    monkeypatch.setattr(type(network.middle_block[0]), "_forward", Extension.forward)
    assert "ResBlock has another _forward" in watch.change()
    monkeypatch.undo()
    assert watch.change() is None


def test_processors(network, watch, monkeypatch):
    monkeypatch.setattr(attention_of(network), "processor", Extension.Processor())
    assert "a CrossAttention has another processor (attention_of_somebody." in watch.change()
    monkeypatch.undo()
    assert watch.change() is None


def test_processors_with_weights_of_their_own(network, watch):
    attention = attention_of(network)
    before = vars(attention).pop("processor")  # as torch does, which keeps layers elsewhere
    attention.processor = Extension.ProcessorWithWeights()
    assert "another kind (attention_of_somebody.Extension.ProcessorWithWeights)" in watch.change()
    del attention.processor
    attention.processor = before
    assert watch.change() is None


def test_other_processors_of_diffusers(network, watch, monkeypatch):
    monkeypatch.setattr(attention_of(network), "processor", PAGIdentitySelfAttnProcessor2_0())
    assert "another processor" in watch.change()
    monkeypatch.undo()
    assert watch.change() is None


def test_kinds_of_layers(network, watch):
    attention = attention_of(network)
    before = type(attention)
    attention.__class__ = type("Attention", (before,), {"__module__": "attention_of_somebody"})
    try:
        assert "another kind (attention_of_somebody.Attention)" in watch.change()
    finally:
        attention.__class__ = before
    assert watch.change() is None


def test_functions_that_a_layer_calls(network, watch, monkeypatch):
    activation = network.middle_block[1].transformer_blocks[0].ff.net[0]
    monkeypatch.setattr(activation, "gelu", Extension.forward)
    assert watch.change() == "a GEGLU has another gelu (attention_of_somebody.Extension.forward)"


def test_a_function_in_the_place_of_another_attribute(network, watch):
    layer = network.middle_block[0]
    layer.marker = 1
    assert watch.change() is None
    del layer.marker
    layer.forward = Extension.forward
    assert "ResBlock has another forward" in watch.change()
    del layer.forward
    assert watch.change() is None


@pytest.mark.parametrize("recipe", ["SD1", "SDXL", "SD3"])
def test_what_the_program_makes_is_untouched(recipe):
    made = model_load.prepare("tiny", {}, state_dict=tiny_checkpoints.make(getattr(tiny_checkpoints, recipe)).weights())
    model = model_load.build(made, Placement(torch.device("cpu"), *[torch.float32] * 3))
    assert Watch(model.model.diffusion_model).change() is None


def test_layers_in_the_place_of_others(network, watch):
    attention = attention_of(network)
    before = attention.to_q
    attention.to_q = Extension.ProcessorWithWeights()
    try:
        assert "another kind" in watch.change()
    finally:
        attention.to_q = before
    assert watch.change() is None


def test_edges(network, watch, monkeypatch):
    monkeypatch.setattr(network.out[2], "padding_mode", "circular")
    assert watch.change() == "seamless images need other edges"
    monkeypatch.undo()
    assert watch.change() is None


def test_what_is_around_all_networks(watch, monkeypatch):
    handle = torch.nn.modules.module.register_module_forward_hook(hook)
    try:
        assert watch.change() == "an extension has a hook on all layers there are"
    finally:
        handle.remove()
    monkeypatch.setattr(sd_hijack_unet.th, "cat", torch.cat, raising=False)
    assert "skips" in watch.change()
    monkeypatch.undo()
    assert watch.change() is None
