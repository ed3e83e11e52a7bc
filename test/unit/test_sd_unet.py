"""U-Nets of extensions in place of the checkpoint's."""

import pytest
import torch

from modules import script_callbacks, sd_models, sd_unet, shared, shared_items
from modules.sampling.conditioning import Conditioning


class Double(sd_unet.SdUnet):
    def __init__(self):
        super().__init__()
        self.calls = []
        self.given = []

    def forward(self, x, timesteps, context, *args, **kwargs):
        self.given.append((args, kwargs))
        return x * 2

    def activate(self):
        self.calls.append("activate")

    def deactivate(self):
        self.calls.append("deactivate")


class DoubleOption(sd_unet.SdUnetOption):
    def __init__(self, label, model_name):
        self.label = label
        self.model_name = model_name
        self.unet = Double()

    def create_unet(self):
        return self.unet


@pytest.fixture(scope="module")
def model():
    sd_models.setup_model()
    return shared.sd_model


@pytest.fixture
def options(model):
    """Two choices: one for the embedded checkpoint, one for another."""
    made = [DoubleOption("[X] demo", "demo-emoji"), DoubleOption("[X] other", "other")]
    script_callbacks.on_list_unets(lambda found: found.extend(made), name="test_sd_unet")
    sd_unet.list_unets()
    yield made
    sd_unet.apply_unet("None")
    script_callbacks.remove_current_script_callbacks()
    sd_unet.unet_options.clear()


def predict(model):
    x = torch.ones(1, 4, 8, 8)
    with torch.no_grad():
        return model.apply_model(x, torch.tensor([1.0]), model.cond_stage_model_empty_prompt)


def test_choices_are_listed(options):
    assert shared_items.sd_unet_items() == ["Automatic", "[X] demo", "[X] other", "None"]


def test_automatic_is_the_one_for_the_checkpoint(options):
    assert sd_unet.get_unet_option("Automatic") is options[0]
    assert sd_unet.get_unet_option("[X] other") is options[1]
    assert sd_unet.get_unet_option("None") is None
    assert sd_unet.get_unet_option("gone") is None
    assert sd_unet.get_unet_option() is options[0], "the setting is Automatic"


def test_unet_that_stands_in_gets_the_vector_whole(options, model):
    sd_unet.apply_unet()
    tokens, pooled, size = model.cond_stage_model_empty_prompt, torch.ones(1, 8), torch.ones(1, 6)
    for cond in (tokens, Conditioning(tokens, pooled), Conditioning(tokens, pooled, size=size)):
        model.apply_model(torch.ones(1, 4, 8, 8), torch.tensor([1.0]), cond)
    (_, text_only), (_, pooled_only), (_, with_size) = options[0].unet.given
    assert text_only == {}
    assert torch.equal(pooled_only["y"], pooled)
    assert torch.equal(with_size["y"], Conditioning(tokens, pooled, size=size).whole_vector)


def test_unet_stands_in_until_it_is_replaced(options, model):
    own = predict(model)
    sd_unet.apply_unet()
    assert sd_unet.current_unet is options[0].unet
    assert sd_unet.current_unet_option is options[0]
    assert options[0].unet.option is options[0]
    assert predict(model).unique().tolist() == [2]
    sd_unet.apply_unet()
    assert options[0].unet.calls == ["activate"], "the same choice again does nothing"

    sd_unet.apply_unet("[X] other")
    assert options[0].unet.calls == ["activate", "deactivate"]
    sd_unet.apply_unet("None")
    assert sd_unet.current_unet is None
    assert torch.equal(predict(model), own)


def test_other_names_of_the_module_are_missing():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sd_unet.no_such_name


def test_interfaces_have_to_be_implemented():
    with pytest.raises(NotImplementedError):
        sd_unet.SdUnetOption().create_unet()
    bare = sd_unet.SdUnet()
    with pytest.raises(NotImplementedError):
        bare(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    bare.activate()
    bare.deactivate()
