"""What docs/model_names.md says is there, on a loaded model of each family."""

import pytest
import torch
from safetensors.torch import load_file

from modules import model_load
from test.unit.diffusers_pipelines import CPU
from test.unit.test_original_unet import asked_of_diffusers

KINDS = ("sd1", "sd2", "sdxl", "sdxl-refiner", "ssd")
VECTORS = ("sdxl", "sdxl-refiner", "ssd")
ENCODERS = {"sdxl": 2, "ssd": 2}
NOT_NEEDED = ("logit_scale", "position_ids", "cond_stage_model.model.text_projection")
"""Parts of keys in files that no network here has a use for."""


@pytest.fixture(scope="module", params=KINDS)
def of_kind(request, loaded_program, tiny_files):
    """(kind, model, what its file holds)"""
    path, _ = tiny_files(request.param)
    return request.param, model_load.build(model_load.prepare(str(path), {}), CPU), load_file(path)


@torch.inference_mode()
def test_a_u_net_computes_what_diffusers_does_bit_for_bit(of_kind):
    kind, model, _ = of_kind
    layout = model.model.diffusion_model
    generator = torch.Generator().manual_seed(1)
    width = layout.vector_width
    given = {
        "x": torch.randn(2, 4, 8, 16, generator=generator),
        "timesteps": torch.tensor([20.0, 500.5]),
        "context": torch.randn(2, 77, layout.unet.config.cross_attention_dim, generator=generator),
        "y": torch.randn(2, width, generator=generator) if kind in VECTORS else None,
    }
    assert (width is not None) == (layout.num_classes is not None) == (kind in VECTORS)
    assert torch.equal(layout(**given), asked_of_diffusers(layout.unet, **given))


def test_weights_have_the_keys_of_their_file(of_kind):
    _, model, stored = of_kind
    found = model.state_dict()
    assert not [key for key in stored.keys() - found.keys() if not any(part in key for part in NOT_NEEDED)]
    for key, weight in found.items():
        assert torch.equal(weight, stored[key].float()), key


@torch.no_grad()
def test_weights_are_taken_by_the_keys_they_are_given_by(of_kind):
    _, model, _ = of_kind
    before = {key: weight.clone() for key, weight in model.state_dict().items()}
    changed = {key: weight + 1 if weight.is_floating_point() else weight for key, weight in before.items()}
    try:
        assert model.load_state_dict(changed) == ([], [])
        assert not [key for key, weight in model.state_dict().items() if not torch.equal(weight, changed[key])]
        by_module = torch.nn.Module.state_dict(model)
        assert by_module.keys() != before.keys() and model.load_state_dict(by_module) == ([], [])
        one = next(key for key in before if key.endswith("decoder.mid.attn_1.q.weight"))
        missing, unexpected = model.load_state_dict({one: before[one], "nowhere": before[one]}, strict=False)
        assert unexpected == ["nowhere"] and len(missing) == len(by_module) - 1
        assert torch.equal(model.first_stage_model.decoder.mid.attn_1.q.weight, before[one])
        with pytest.raises(RuntimeError, match="nowhere"):
            model.load_state_dict(before | {"nowhere": before[one]})
    finally:
        model.load_state_dict(before)


def test_a_prompt_reaches_each_text_encoder_under_its_names(of_kind):
    kind, model, stored = of_kind
    encoders = getattr(model, "conditioner", model.cond_stage_model)
    encoders = getattr(encoders, "embedders", [encoders])
    encoders = [encoder for encoder in encoders if hasattr(encoder, "wrapped")]
    assert len(encoders) == ENCODERS.get(kind, 1)
    for encoder in encoders:
        wrapped = encoder.wrapped
        tokens = encoder.tokenize(["red apple"])[0]
        assert [wrapped.tokenizer.decoder[token] for token in tokens] == ["red</w>", "apple</w>"]
        layers, seen = wrapped.transformer.text_model.encoder.layers, []
        handle = layers[0].mlp.fc1.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        model.get_learned_conditioning(["red apple"])
        handle.remove()
        assert seen
        if open_clip := getattr(wrapped, "model", None):
            for block, layer in zip(open_clip.transformer.resblocks, layers, strict=True):
                assert (block.ln_1, block.attn, block.mlp.c_proj) == (layer.layer_norm1, layer.self_attn, layer.mlp.fc2)
            assert open_clip.ln_final is wrapped.transformer.text_model.final_layer_norm
            assert open_clip.text_projection is None or open_clip.text_projection.shape == (64, 64)
            assert open_clip.positional_embedding.shape == (77, open_clip.token_embedding.weight.shape[1])
    assert any(hasattr(encoder.wrapped, "model") for encoder in encoders) == (kind != "sd1")


def test_open_clip_has_the_names_that_extensions_use(loaded_program):
    import open_clip.tokenizer

    tokenizer = open_clip.tokenizer._tokenizer
    assert tokenizer.encode("red apple") == [736, 3055] and tokenizer.decode([736, 3055]) == "red apple "
    assert tokenizer.encoder["apple</w>"] == 3055 and tokenizer.decoder[736] == "red</w>"
    assert open_clip.tokenize(["red apple"]).shape == (1, 77)
    assert ("ViT-H-14", "laion2b_s32b_b79k") in open_clip.list_pretrained()
