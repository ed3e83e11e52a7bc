import pytest
import torch

from modules import extra_networks, model_patches, shared
from modules.extra_networks_hypernet import ExtraNetworkHypernet
from modules.shared import opts
from test.unit.tiny_networks import job, save_hypernetwork

WIDTH = 128
"""Of the vectors that the embedded model's text encoder gives."""


@pytest.fixture
def p(tmp_path, monkeypatch, sd_model):
    """A job on the embedded model, with the hypernetworks `a` and `b` there to be named."""
    monkeypatch.setattr(shared, "hypernetworks", {})
    monkeypatch.setattr(shared, "loaded_hypernetworks", [])
    monkeypatch.setattr(shared.cmd_opts, "hypernetwork_dir", str(tmp_path))
    for name in ("a", "b"):
        save_hypernetwork(tmp_path / f"{name}.pt", WIDTH)
    shared.reload_hypernetworks()
    with model_patches.job_wishes():
        yield job(sd_model=sd_model)


@pytest.fixture
def unet(sd_model):
    return sd_model.model.diffusion_model


def keys(unet):
    layer = next(module for name, module in unet.named_modules() if name.endswith("attn2"))
    return layer.to_k(torch.ones(1, 2, WIDTH))


def params_of(prompt):
    return extra_networks.parse_prompt(prompt)[1]["hypernet"]


def test_it_is_one_of_the_built_in_networks():
    assert ExtraNetworkHypernet in extra_networks.default_extra_networks
    assert ExtraNetworkHypernet().name == "hypernet"


def test_tag_changes_the_model_until_deactivated(p, unet):
    plain = keys(unet)
    network = ExtraNetworkHypernet()
    network.activate(p, params_of("<hypernet:a:0.5><hypernet:b>"))
    changed = keys(unet)
    assert not torch.equal(changed, plain)
    assert [next(h.modules()).multiplier for h in shared.loaded_hypernetworks] == [0.5, 1.0]

    network.activate(p, params_of("<hypernet:a:0.5><hypernet:b>"))
    assert torch.equal(keys(unet), changed)  # not twice

    network.deactivate(p)
    assert torch.equal(keys(unet), plain)


def test_one_for_another_kind_of_model_is_told(p, unet, tmp_path):
    save_hypernetwork(tmp_path / "wide.pt", 1536)
    shared.reload_hypernetworks()
    plain = keys(unet)
    ExtraNetworkHypernet().activate(p, params_of("<hypernet:wide:1><hypernet:a:0>"))
    assert torch.equal(keys(unet), plain)
    assert list(p.comments) == ["Hypernetworks that find nothing to change in Stable Diffusion 1, tiny: wide"]


def test_batch_without_tags_leaves_the_model_as_it_is(p, unet):
    plain = keys(unet)
    network = ExtraNetworkHypernet()
    network.activate(p, params_of("<hypernet:a>"))
    network.activate(p, [])
    assert torch.equal(keys(unet), plain)
    assert shared.loaded_hypernetworks == []
    assert p.all_prompts == ["a", "b"]


def test_setting_adds_a_network_and_writes_it_into_all_prompts(p, unet):
    with opts.overlay({"sd_hypernetwork": "b", "extra_networks_default_multiplier": 0.7}):
        ExtraNetworkHypernet().activate(p, params_of("<hypernet:a>"))
    assert p.all_prompts == ["a<hypernet:b:0.7>", "b<hypernet:b:0.7>"]
    assert [h.name for h in shared.loaded_hypernetworks] == ["a", "b"]


@pytest.mark.parametrize(("setting", "prompt"), [("b", "<hypernet:b:0.2>"), ("None", ""), ("deleted", "")])
def test_setting_adds_nothing_that_is_named_or_not_there(p, setting, prompt):
    with opts.overlay({"sd_hypernetwork": setting}):
        ExtraNetworkHypernet().activate(p, params_of(prompt))
    assert p.all_prompts == ["a", "b"]
    assert len(shared.loaded_hypernetworks) == (1 if prompt else 0)


@pytest.mark.parametrize(
    ("prompt", "remark"),
    [
        ("<hypernet:b:abc><hypernet:a:0.5><hypernet:b:>", "<hypernet:b:...>: 'abc' is no number"),
        ("<hypernet:b:nan><hypernet:a:0.5><hypernet:b:inf>", "'nan' is no number"),
        ("<hypernet:gone><hypernet:a:0.5><hypernet:broken><hypernet:gone>", "left out: gone, broken"),
    ],
)
def test_tags_that_cannot_be_heeded_are_told_and_the_others_hold(p, tmp_path, prompt, remark):
    (tmp_path / "broken.pt").write_text("text")
    shared.reload_hypernetworks()
    ExtraNetworkHypernet().activate(p, params_of(prompt))
    assert [h.name for h in shared.loaded_hypernetworks] == ["a"]
    assert remark in p.comments[0]
