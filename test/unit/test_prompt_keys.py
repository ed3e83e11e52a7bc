"""Keys and values of prompts are computed once for all steps, and anew where anything that decides them has changed."""

import gc
import weakref
from collections import Counter

import pytest
import torch

from modules import call_queue, processing, prompt_keys, script_callbacks, shared
from modules.sd_hijack_optimizations import keys_and_values


def made_layer():
    from ldm.modules.attention import CrossAttention

    return CrossAttention(query_dim=8, context_dim=6, heads=2, dim_head=4).requires_grad_(False)


@pytest.fixture
def layer():
    torch.manual_seed(1)
    return made_layer()


@pytest.fixture
def ask(layer):
    """ask(context, layer) returns what is attended to, after a check that it is right; ask.computed counts."""
    kept = prompt_keys.PromptKeys()
    computed = []

    def compute(attn, context):
        computed.append(attn)
        return keys_and_values(attn, context)

    def asked(context, attn=layer):
        made = kept.of(attn, context, compute)
        for part, expected in zip(made, keys_and_values(attn, context), strict=True):
            assert torch.equal(part, expected) and part.is_inference() == context.is_inference()
        return made

    asked.computed = computed
    return asked


def text(seed=1, rows=2):
    return torch.randn(rows, 5, 6, generator=torch.Generator().manual_seed(seed))


def test_an_equal_text_is_computed_once_for_each_layer(ask, layer):
    first = ask(text())
    other = made_layer()
    ask(text(), other)
    assert ask(text())[0] is first[0] and ask.computed == [layer, other]


def test_two_texts_take_turns(ask):
    for _ in range(3):
        ask(text(1))
        ask(text(2, rows=1))
    assert len(ask.computed) == 2
    ask(text(3))
    ask(text(1))
    assert len(ask.computed) == 4


def test_a_text_that_was_written_to_is_another_one(ask):
    context = text()
    ask(context)
    context += 1
    ask(context)
    assert len(ask.computed) == 2


def write(layer):
    layer.to_v.weight.mul_(2)


def replace_numbers(layer):
    layer.to_k.weight.data = layer.to_k.weight.data * 2


def replace_weight(layer):
    layer.to_k.weight = torch.nn.Parameter(layer.to_k.weight * 2, requires_grad=False)


@pytest.mark.parametrize("change", [write, replace_numbers, replace_weight])
def test_changed_weights_count(ask, layer, change):
    before = [part.clone() for part in ask(text())]
    change(layer)
    after = ask(text())
    assert not all(map(torch.equal, before, after))
    ask(text())
    assert len(ask.computed) == 2


def test_tensors_whose_changes_torch_does_not_count_are_not_kept(ask):
    with torch.inference_mode():
        context = text()
        for _ in range(2):
            ask(context)
    assert len(ask.computed) == 2


def test_numbers_that_lie_where_others_lay_count(ask, layer):
    own = layer.to_k.weight.data
    for factor in range(2, 12):
        layer.to_k.weight.data = own
        layer.to_k.weight.data = own * factor
        ask(text())
    assert len(ask.computed) == 10


def test_a_dropped_model_is_not_held():
    kept = prompt_keys.PromptKeys()
    dropped = made_layer()
    kept.of(dropped, text(), keys_and_values)
    weights = [weakref.ref(dropped), weakref.ref(dropped.to_k.weight)]
    del dropped
    gc.collect()
    assert [weight() for weight in weights] == [None, None]


def test_no_more_is_kept_than_there_is_room_for(ask, layer, monkeypatch):
    monkeypatch.setattr(prompt_keys, "MOST_BYTES", sum(part.nbytes for part in ask(text())))
    for _ in range(2):
        ask(text())
        ask(text(2))
    assert len(ask.computed) == 3
    layer.to_k.weight.mul_(2)  # which makes room
    for _ in range(2):
        ask(text())
    assert len(ask.computed) == 4


def test_a_job_computes_them_once_and_makes_the_same_image(sd_model, monkeypatch):
    calls = Counter()
    forward = torch.nn.Linear.forward

    def counted(self, input):
        calls[self] += 1
        return forward(self, input)

    counted.__module__ = forward.__module__
    monkeypatch.setattr(torch.nn.Linear, "forward", counted)
    attention = sd_model.model.diffusion_model.middle_block[1].transformer_blocks[0].attn2

    def image(steps=4, **parameters):
        calls.clear()
        p = processing.StableDiffusionProcessingTxt2Img(
            prompt="red apple", seed=1, steps=steps, width=64, height=64, sampler_name="Euler", **parameters
        )
        p.do_not_save_samples = True
        with call_queue.gpu_job("test"):
            return processing.process_images(p).images[0].tobytes()

    kept = image()
    assert calls[attention.to_k] == calls[attention.to_v] == 1 and calls[attention.to_q] == 4
    assert prompt_keys.of_job.get() is None
    with monkeypatch.context() as nothing_kept:
        nothing_kept.setattr(prompt_keys, "MOST_BYTES", 0)
        assert image() == kept and calls[attention.to_k] == 4

    script_callbacks.on_cfg_denoiser(lambda params: attention.to_k.weight.data.mul_(1.0))
    try:  # torch counts no change of that
        assert image() == kept and calls[attention.to_k] == 4
    finally:
        script_callbacks.remove_current_script_callbacks()

    handle = attention.to_k.register_forward_hook(lambda layer, args, output: output * 1.5)
    try:
        hooked = image()
    finally:
        handle.remove()
    assert hooked != kept and shared.sd_model.model.runner.title is None
    assert image() == kept
