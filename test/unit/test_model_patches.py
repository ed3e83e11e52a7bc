"""Patches of a model that are undone when their block ends."""

import pytest
import torch
from torch import nn

from modules import sd_models, shared
from modules.model_patches import circular_padding, token_merging


@pytest.fixture(scope="module")
def model():
    sd_models.setup_model()
    return shared.sd_model


def predict(model, size=(8, 8)):
    x = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return model.apply_model(x, torch.tensor([300.0, 700.0]), model.cond_stage_model_empty_prompt.expand(2, -1, -1))


def test_circular_convolution_moves_with_the_picture():
    conv = nn.Conv2d(1, 1, 3, padding=1)
    x = torch.randn(1, 1, 6, 6)
    with circular_padding(conv):
        assert torch.allclose(conv(x.roll(2, dims=3)), conv(x).roll(2, dims=3), atol=1e-6)
    assert not torch.allclose(conv(x.roll(2, dims=3)), conv(x).roll(2, dims=3), atol=1e-6)


def test_circular_padding_is_undone_after_an_error():
    layers = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), nn.Conv2d(1, 1, 3))
    with pytest.raises(ZeroDivisionError), circular_padding(layers):
        assert [layer.padding_mode for layer in layers] == ["circular", "circular"]
        raise ZeroDivisionError
    assert [layer.padding_mode for layer in layers] == ["reflect", "zeros"]


@pytest.mark.parametrize("enabled", [False, None])
def test_circular_padding_that_is_off_changes_nothing(enabled):
    conv = nn.Conv2d(1, 1, 3, padding_mode="replicate")
    with circular_padding(conv, enabled):
        assert conv.padding_mode == "replicate"


def test_all_of_a_model_becomes_circular_and_comes_back(model):
    before = predict(model)
    with circular_padding(model, True):
        assert not torch.equal(predict(model), before)
    assert torch.equal(predict(model), before)


def test_token_merging_changes_the_picture_more_the_more_it_merges(model):
    before = predict(model)
    differences = []
    for ratio in (0.0, 0.25, 0.75):
        with token_merging(model, ratio):
            differences.append((predict(model) - before).abs().mean().item())
    assert differences[0] == 0
    assert 0 < differences[1] < differences[2]
    assert torch.equal(predict(model), before)


def test_no_hook_is_left(model):
    def hooks():
        unet = model.model.diffusion_model
        return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in unet.modules())

    before = hooks()
    with pytest.raises(ZeroDivisionError), token_merging(model, 0.5):
        assert hooks() > before
        raise ZeroDivisionError
    assert hooks() == before


def test_only_self_attention_at_full_resolution_sees_fewer_tokens(model):
    seen = {}
    unet = model.model.diffusion_model
    handles = [
        module.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0].shape[1]}))
        for name, module in unet.named_modules()
        if name.endswith(("to_q", "to_k"))
    ]
    with token_merging(model, 0.5):
        predict(model)
    for handle in handles:
        handle.remove()
    self_attention = {name: tokens for name, tokens in seen.items() if ".attn1." in name}
    assert {tokens for name, tokens in self_attention.items() if name.startswith("down_blocks.0.")} == {32}
    assert {tokens for name, tokens in self_attention.items() if name.startswith("mid_block.")} == {4}
    assert {tokens for name, tokens in seen.items() if ".attn2.to_q" in name} == {64, 16, 4}


def test_block_computes_what_the_method_says(model):
    from tomesd.merge import bipartite_soft_matching_random2d

    unet = model.model.diffusion_model
    block = unet.down_blocks[0].attentions[0].transformer_blocks[0]
    seen = {}
    handle = block.register_forward_hook(lambda _, args, output: seen.update(tokens=args[0], out=output), prepend=True)
    with token_merging(model, 0.4):
        predict(model, size=(6, 10))
    handle.remove()

    tokens = seen["tokens"]
    context = model.cond_stage_model_empty_prompt.expand(2, -1, -1)
    merge, unmerge = bipartite_soft_matching_random2d(tokens, 10, 6, 2, 2, int(60 * 0.4), no_rand=True)
    with torch.no_grad():
        tokens = unmerge(block.attn1(merge(block.norm1(tokens)))) + tokens
        tokens = block.attn2(block.norm2(tokens), encoder_hidden_states=context) + tokens
        expected = block.ff(block.norm3(tokens)) + tokens
    assert torch.allclose(seen["out"], expected, atol=1e-5)


def test_odd_sizes_can_be_merged(model):
    with token_merging(model, 0.5):
        assert torch.isfinite(predict(model, size=(3, 5))).all()
