"""Steps in which the inner layers of a denoiser are not computed: which they are, and what others have put in place."""

import json

import pytest
import torch

from modules import shared, step_cache
from modules.infotext_utils import parse_generation_parameters

KINDS = ("sd3.5-medium",)
BODY = {"prompt": "red apple", "steps": 6, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}


@pytest.fixture
def inner_calls(sd_model):
    """The steps in which the middle of the U-Net is computed."""
    steps = []
    middle = sd_model.model.diffusion_model.middle_block
    handle = middle.register_forward_hook(lambda *_: steps.append(shared.state.sampling_step))
    yield steps
    handle.remove()


def predict(model, x, step, monkeypatch):
    monkeypatch.setattr(shared.state, "sampling_step", step)
    text = model.cond_stage_model_empty_prompt.expand(len(x), -1, -1)
    with torch.no_grad():
        return model.apply_model(x, torch.full((len(x),), 500.0), text)


def test_inner_blocks_are_computed_in_every_nth_step_of_each_pass(sd_model, inner_calls, monkeypatch):
    x = torch.randn(2, 4, 8, 8)
    expected = predict(sd_model, x, 0, monkeypatch)
    inner_calls.clear()
    with step_cache.applied(sd_model, 3):
        for step in (0, 1, 2, 3, 4, 0, 1):
            output = predict(sd_model, x, step, monkeypatch)
            assert torch.allclose(output, expected, atol=1e-4)  # of the same latents the inner blocks make the same
        assert inner_calls == [0, 3, 0]
        other = predict(sd_model, x[:1], 1, monkeypatch)  # of another size nothing is kept
        assert torch.allclose(other, expected[:1], atol=1e-4) and inner_calls == [0, 3, 0, 1]
    assert "forward" not in vars(sd_model.model.diffusion_model)
    assert torch.equal(predict(sd_model, x, 1, monkeypatch), expected)


def test_each_call_of_a_step_has_what_it_made_itself(sd_model, inner_calls, monkeypatch):
    first, second = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    expected = [predict(sd_model, x, 0, monkeypatch) for x in (first, second)]
    inner_calls.clear()
    with step_cache.applied(sd_model, 2):
        for step in (2, 3):
            for x, output in zip((first, second), expected, strict=True):
                assert torch.allclose(predict(sd_model, x, step, monkeypatch), output, atol=1e-4)
    assert inner_calls == [2, 2]


def test_nothing_older_than_the_last_deep_step_is_used(sd_model, inner_calls, monkeypatch):
    """Without the negative prompt in every other step, these have sizes of their own."""
    with step_cache.applied(sd_model, 2):
        for step in range(4):
            predict(sd_model, torch.randn(2 - step % 2, 4, 8, 8), step, monkeypatch)
    assert inner_calls == [0, 1, 2, 3]


def test_a_forward_of_an_extension_goes_before(sd_model, monkeypatch, caplog):
    unet = sd_model.model.diffusion_model
    x = torch.randn(1, 4, 8, 8)
    monkeypatch.setattr(unet, "forward", lambda x, *_, **__: x + 1, raising=False)
    with step_cache.applied(sd_model, 2):
        assert torch.equal(predict(sd_model, x, 1, monkeypatch), x + 1)
    assert "step_cache_interval has no effect" in caplog.text


@pytest.mark.parametrize("separate", [True, False])
def test_a_job_takes_fewer_inner_calls_and_says_so(client, inner_calls, separate):
    settings = {"step_cache_interval": 2, "batch_cond_uncond": not separate}
    answer = client.post("/sdapi/v1/txt2img", json=BODY | {"override_settings": settings}).json()
    (infotext,) = json.loads(answer["info"])["infotexts"]
    assert "Step cache: 2" in infotext
    assert parse_generation_parameters(infotext)["Step cache"] == "2"
    per_look = 2 if separate else 1
    assert len(inner_calls) == 4 * per_look  # before the first step is counted as done there are two looks
    plain = client.post("/sdapi/v1/txt2img", json=BODY).json()
    assert "Step cache" not in plain["info"] and len(inner_calls) == 4 * per_look + 6


@pytest.fixture
def transformer_calls(use):
    """The steps in which layers of each sort are computed in a transformer, sort by sort."""
    block = use(KINDS[0]).model.diffusion_model.transformer_blocks[0]
    calls = {name: [] for name in ("attn.to_q", "attn2.to_q", "ff.net.2", "ff_context.net.2")}
    handles = [
        block.get_submodule(name).register_forward_hook(
            lambda *_, steps=steps: steps.append(shared.state.sampling_step)
        )
        for name, steps in calls.items()
    ]
    yield calls
    for handle in handles:
        handle.remove()


def predict_flow(model, x, step, monkeypatch, cond=None):
    monkeypatch.setattr(shared.state, "sampling_step", step)
    cond = cond or model.get_learned_conditioning(["red apple"] * len(x))
    with torch.no_grad():
        return model.apply_model(x, torch.full((len(x),), 500.0), cond)


def test_layers_of_a_transformer_are_predicted_between_steps(use, transformer_calls, monkeypatch):
    model, x = use(KINDS[0]), torch.randn(2, 16, 8, 8)
    own_methods = [layer for layer in model.model.diffusion_model.modules() if "forward" in vars(layer)]
    expected = predict_flow(model, x, 0, monkeypatch)
    for steps in transformer_calls.values():
        steps.clear()
    with step_cache.applied(model, 3):
        for step in (*range(8), 0, 1):
            output = predict_flow(model, x, step, monkeypatch)
            assert torch.allclose(output, expected, atol=1e-4)  # of the same latents they make the same
        assert all(steps == [0, 1, 2, 4, 7, 0, 1] for steps in transformer_calls.values())
        other = predict_flow(model, x[:1], 2, monkeypatch)  # of another size nothing is known
        assert torch.allclose(other, expected[:1], atol=1e-4)
        assert all(steps[-1] == 2 for steps in transformer_calls.values())
    layers = model.model.diffusion_model.modules()
    assert [layer for layer in layers if "forward" in vars(layer)] == own_methods
    assert torch.equal(predict_flow(model, x, 3, monkeypatch), expected)


def test_each_call_of_a_step_is_predicted_from_its_own(use, transformer_calls, monkeypatch):
    model = use(KINDS[0])
    first, second = torch.randn(2, 16, 8, 8), torch.randn(2, 16, 8, 8)
    expected = [predict_flow(model, x, 0, monkeypatch) for x in (first, second)]
    transformer_calls["attn.to_q"].clear()
    with step_cache.applied(model, 2):
        for step in range(4):
            for x, output in zip((first, second), expected, strict=True):
                assert torch.allclose(predict_flow(model, x, step, monkeypatch), output, atol=1e-4)
    assert transformer_calls["attn.to_q"] == [0, 0, 1, 1, 2, 2]


def test_an_image_of_a_transformer_is_made_again_from_its_infotext(use, transformer_calls, client):
    use(KINDS[0])
    body = {**BODY, "steps": 8}
    answer = client.post("/sdapi/v1/txt2img", json={**body, "override_settings": {"step_cache_interval": 3}}).json()
    (infotext,) = json.loads(answer["info"])["infotexts"]
    assert "Step cache: 3" in infotext and len(transformer_calls["attn.to_q"]) < 8
    again = client.post("/sdapi/v1/txt2img", json={"infotext": infotext}).json()
    assert again["images"] == answer["images"]
    assert client.post("/sdapi/v1/txt2img", json=body).json()["images"] != answer["images"]
