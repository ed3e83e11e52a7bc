"""Changed weights: where they are stored, and that the stored bytes come back."""

import pytest
import torch
from torch import nn

from modules import checkpoints, lowvram, model_load
from modules.placement import Placement
from modules.weight_patches import PatchedWeights, WeightPatch, WeightPlace

CPU = torch.device("cpu")
NAME = "0.weight"


def plus(delta):
    return lambda weight: weight + delta


def times(factor):
    return lambda weight: weight * factor


def patches_of(model, changes):
    return WeightPatch({WeightPlace.at(model, path): change for path, change in changes.items()})


def patch(model, *paths, change):
    return patches_of(model, dict.fromkeys(paths, change))


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Conv2d(2, 2, 3), nn.Linear(4, 4)).to(dtype).requires_grad_(False)


def raw(module):
    """The bytes of all that is stored."""
    return {name: tensor.flatten().view(torch.uint8).numpy().tobytes() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_sum_is_computed_in_float32_and_stored_in_the_type_of_the_weight(dtype):
    model = network(dtype)
    weights, before = PatchedWeights(model), raw(model)
    original = model[0].weight.data.clone()
    weights.set({"a": patch(model, NAME, change=plus(1e-3))})
    assert model[0].weight.dtype == dtype
    expected = (original.float() + 1e-3).to(dtype)
    assert torch.equal(model[0].weight.data.view(torch.uint8), expected.view(torch.uint8))
    weights.set({})
    assert raw(model) == before
    assert weights.originals == {}


def test_parameters_stay_the_same_objects():
    model = network()
    parameters = [id(parameter) for parameter in model.parameters()]
    places = [parameter.data_ptr() for parameter in model.parameters()]
    weights = PatchedWeights(model)
    weights.set({"a": patch(model, NAME, "1.weight", change=times(2))})
    weights.set({})
    assert [id(parameter) for parameter in model.parameters()] == parameters
    assert [parameter.data_ptr() for parameter in model.parameters()] == places


def test_patches_of_one_weight_act_in_their_order():
    model = network()
    weights, original = PatchedWeights(model), model[0].weight.clone()
    first, second = patch(model, NAME, change=plus(1.0)), patch(model, NAME, change=times(3.0))
    weights.set({"a": first, "b": second})
    assert torch.equal(model[0].weight, (original + 1) * 3)
    weights.set({"b": second, "a": first})
    assert torch.equal(model[0].weight, original * 3 + 1)
    weights.set({"a": first})
    assert torch.equal(model[0].weight, original + 1)


def test_other_strengths_start_from_the_original():
    model = network(torch.float16)
    weights, before = PatchedWeights(model), raw(model)
    original = model[0].weight.float()
    for strength in torch.linspace(-2, 2, 50).tolist():
        weights.set({"a": patch(model, NAME, change=plus(strength))})
        assert torch.equal(model[0].weight, (original + strength).half())
    weights.set({})
    assert raw(model) == before


def test_only_what_differs_is_computed_and_only_what_is_changed_is_kept():
    model, computed = network(), []

    def noted(name, factor):
        def change(weight):
            computed.append(name)
            return weight * factor

        return change

    weights = PatchedWeights(model)
    a = patches_of(model, {"0.weight": noted("a0", 2), "1.weight": noted("a1", 2)})
    b = patches_of(model, {"1.weight": noted("b1", 3), "2.weight": noted("b2", 3)})
    weights.set({"a": a})
    assert weights.originals.keys() == a.changes.keys()
    computed.clear()
    weights.set({"a": a, "b": b})
    assert computed == ["a1", "b1", "b2"]
    computed.clear()
    weights.set({"a": a, "b": b})
    assert computed == []
    weights.set({"b": b})
    assert computed == ["b1"]
    assert weights.originals.keys() == b.changes.keys()


def fail(weight):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"1.weight": fail}, ZeroDivisionError),
        ({"1.bias": lambda weight: weight[:1]}, ValueError),
    ],
    ids=["raises", "another shape"],
)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_patch_that_fails_half_way_changes_nothing(broken, error, beside):
    model = network()
    weights, untouched = PatchedWeights(model), raw(model)
    others = {"x": patch(model, "0.weight", "2.weight", change=times(5))} if beside else {}
    weights.set(others)
    before = raw(model)
    with pytest.raises(error):
        weights.set({**others, "a": patches_of(model, {"0.weight": plus(1), "2.weight": plus(1), **broken})})
    assert raw(model) == before
    assert weights.patches == others
    weights.set({})
    assert raw(model) == untouched


@pytest.mark.parametrize("path", ["9.weight", "0.nothing", "nothing"])
def test_weight_that_is_not_there_has_no_place(path):
    with pytest.raises(LookupError, match=path):
        WeightPlace.at(network(), path)


def test_when_the_way_back_fails_too_nothing_is_left_on():
    model = network()
    weights, untouched = PatchedWeights(model), raw(model)
    calls = []

    def works_once(weight):
        calls.append(1)
        if len(calls) > 1:
            raise MemoryError
        return weight + 1

    weights.set({"a": patch(model, NAME, change=works_once), "b": patch(model, "2.weight", change=times(2))})
    with pytest.raises(MemoryError):
        weights.set({"a": patch(model, NAME, change=fail), "b": patch(model, "2.weight", change=times(3))})
    assert raw(model) == untouched
    assert weights.patches == {} and weights.originals == {}


def test_weights_are_found_by_their_keys_in_files():
    model = build()
    key = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    (place,) = model.weight_places[key]
    assert place == WeightPlace.at(model, UNET)
    plain = run(model)
    model.patches.put("a", lambda model: WeightPatch(dict.fromkeys(model.weight_places[key], noise)))
    assert not torch.equal(run(model), plain)
    model.patches.take("a")
    assert torch.equal(run(model), plain)


def test_values_beyond_eight_bits_are_cut_off():
    model = network(torch.float8_e4m3fn)
    PatchedWeights(model).set({"a": patch(model, NAME, change=times(1e6))})
    values = model[0].weight.float()
    assert values.isfinite().all() and values.abs().max() == 448


def test_layer_that_is_wrapped_meanwhile_gets_its_weight_back():
    model = network()
    weights, before = PatchedWeights(model), raw(model)
    weights.set({"a": patch(model, NAME, change=times(2))})
    own = model[0]
    model[0] = nn.Sequential(own)
    weights.set({})
    model[0] = own
    assert raw(model) == before


def build(dtype=torch.float32, fp8=False):
    """The embedded model; its real text encoder, U-Net and VAE are small."""
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {})
    return model_load.build(prepared, Placement(CPU, dtype, dtype_text=dtype, dtype_vae=dtype, fp8=fp8))


UNET = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
CONVOLUTION = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"
INPUT = "model.diffusion_model.input_blocks.0.0.weight"
TEXT = "cond_stage_model.wrapped.transformer.text_model.encoder.layers.0.mlp.fc1.weight"


PATHS = (UNET, CONVOLUTION, INPUT, TEXT)


def noise(weight):
    return weight + 0.5 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(5))


def changes(model):
    return patch(model, *PATHS, change=noise)


def run(model):
    with torch.no_grad():
        text = model.get_learned_conditioning(["red apple"])
        return model.apply_model(torch.ones(2, 4, 8, 8), torch.tensor([500.0, 20.0]), text.expand(2, -1, -1))


def changed_by_hand(model):
    """The same change as a file with other weights would bring it."""
    for path in PATHS:
        weight = model.get_parameter(path)
        weight.data = noise(weight.data.float()).to(weight.dtype)
    return model


KINDS = {
    "plain": {},
    "8 bits": {"fp8": True},
    "medvram": {},
    "lowvram": {},
    "lowvram, 8 bits": {"fp8": True},
}


def stored(kind):
    """A model whose weights are stored in a way of the table in docs/architecture.md."""
    model = build(**KINDS[kind])
    if "vram" in kind:
        lowvram.setup_for_low_vram(model, use_medvram="medvram" in kind)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_patched_model_computes_what_a_model_with_these_weights_computes(kind):
    model = stored(kind)
    plain, before = run(model), raw(model)
    expected = run(changed_by_hand(build(**KINDS[kind])))
    assert not torch.equal(plain, expected)

    model.patches.put("a", changes)
    for _ in range(2):  # hooks move and cast the weights before and after each call
        assert torch.equal(run(model), expected)
    model.patches.take("a")
    assert raw(model) == before
    assert torch.equal(run(model), plain)
    assert raw(model) == before


@pytest.mark.parametrize("kind", ["8 bits", "lowvram", "lowvram, 8 bits"])
def test_call_that_breaks_off_leaves_nothing_behind(kind):
    """The hooks then leave layers cast up and blocks on the device."""
    model = stored(kind)
    plain, before = run(model), raw(model)
    model.patches.put("a", changes)
    patched = run(model)

    def broken(*_):
        raise MemoryError

    for name in (UNET, CONVOLUTION):
        layer = model.get_submodule(name.removesuffix(".weight"))
        forward, layer.forward = layer.forward, broken
        with pytest.raises(MemoryError):
            run(model)
        layer.forward = forward
    assert torch.equal(run(model), patched)
    model.patches.take("a")
    run(model)
    assert raw(model) == before
    assert torch.equal(run(model), plain)


def test_layer_that_a_broken_call_left_cast_up_can_be_patched():
    model = build(fp8=True)
    before = raw(model)
    layer = model.get_submodule(UNET.removesuffix(".weight"))
    with pytest.raises(RuntimeError):
        layer(torch.ones(1, 3))
    assert layer.weight.dtype == torch.float32
    model.patches.put("a", changes)
    patched = run(model)
    assert torch.equal(patched, run(changed_by_hand(build(fp8=True))))
    model.patches.take("a")
    run(model)
    assert raw(model) == before


def test_originals_go_where_the_model_goes():
    model = build()
    before = raw(model)
    model.patches.put("a", changes)
    originals = model.patches.weights.originals
    assert sum(original.nbytes for original in originals.values()) == sum(
        model.get_parameter(path).nbytes for path in PATHS
    )
    model.to(torch.float64)
    assert {original.dtype for original in model.patches.weights.originals.values()} == {torch.float64}
    model.patches.take("a")
    model.to(torch.float32)
    assert raw(model) == before


def test_originals_of_a_freed_model_are_freed():
    model = build()
    model.patches.put("a", changes)
    model.to("meta")
    assert all(original.is_meta for original in model.patches.weights.originals.values())
    model.patches.put("b", changes)
    model.patches.take("a")
    model.patches.take("b")
    assert model.patches.weights.originals == {}


def test_vae_that_is_widened_gets_the_original_in_its_new_type():
    model = build(torch.float16)
    name = "first_stage_model.decoder.conv_in.weight"
    before = model.get_parameter(name).data.clone()
    model.patches.put("a", lambda model: patch(model, name, change=times(2)))
    model.first_stage_model.to(torch.bfloat16)
    model.patches.take("a")
    assert torch.equal(model.get_parameter(name).data, before.to(torch.bfloat16))
