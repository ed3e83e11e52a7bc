"""Networks of the LoRA family as one patch of a model, however its weights are stored."""

import pytest
import torch
from safetensors.torch import save_file

from modules import adapter_files, sd_models, shared
from modules.model_patches import job_wishes
from modules.network_patches import KIND, ActiveNetwork, Networks, match_of, named
from test.quality.golden import NETWORKS
from test.unit.test_weight_patches import KINDS, build, raw, run, stored

LORA = NETWORKS.folder / "Lora"


def read(name):
    return adapter_files.read(str(LORA / f"lab-{name}.safetensors"))


def active(name, text=0.8, unet=0.8, rank=None):
    return ActiveNetwork(name, read(name), text, unet, rank)


SEVERAL = tuple(active(name, unet=0.6) for name in ("lora", "second", "norm", "full", "ia3"))


@pytest.fixture(scope="module")
def model():
    return build()


def merged_by_hand(model, networks):
    """The same sums, written into the parameters of a model that nothing else touches."""
    for network in networks:
        assert match_of(model, network.file).targets
    for layer in model.layer_names.layers:
        original = layer.weight.stored.float()
        total = original.clone()
        for network in networks:
            for target in match_of(model, network.file).targets:
                if target.layer is layer:
                    strength = network.text if layer.is_text else network.unet
                    delta = target.adapter.delta(original, strength)
                    total += 0 if delta.weight is None else delta.weight
                    if delta.bias is not None:
                        bias = layer.bias.stored
                        bias.copy_((bias.float() + delta.bias).to(bias.dtype))
        layer.weight.stored.copy_(total.to(layer.weight.resting_type))
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_however_weights_are_stored_the_sum_is_the_same_and_is_undone(kind):
    model = stored(kind)
    plain, before = run(model), raw(model)
    model.patches.put(KIND, Networks(SEVERAL))
    expected = run(merged_by_hand(build(**KINDS[kind]), SEVERAL))
    assert torch.allclose(run(model), expected, atol=1e-4)
    model.patches.take(KIND)
    assert torch.equal(run(model), plain)
    assert raw(model) == before


def test_half_precision_sums_in_float32_and_rounds_once():
    model, name = build(torch.float16), "diffusion_model_middle_block_1_transformer_blocks_0_attn2_to_k"
    weight = model.layer_names.by_sd_key[name].weight
    original = weight.stored.clone()
    networks = (active("lora", unet=1e-3), active("loha", unet=1e-3), active("lora", unet=-1e-3))
    model.patches.put(KIND, Networks(networks))
    total = original.float()
    for network in networks:
        for target in match_of(model, network.file).targets:
            if target.layer.sd_key == name:
                total += target.adapter.delta(original.float(), network.unet).weight
    assert torch.equal(weight.stored, total.half())


def test_autocast_does_not_reach_the_sum(model):
    patch = Networks((active("lora"), active("loha")))
    model.patches.put(KIND, patch)
    expected = raw(model)
    model.patches.take(KIND)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.patches.put(KIND, patch)
    assert raw(model) == expected
    model.patches.take(KIND)


@pytest.mark.parametrize("names", [("lora", "second"), ("ia3", "oft"), ("glora", "lokr"), ("full", "ia3", "lora")])
def test_order_makes_no_difference(model, names):
    networks = [active(name) for name in names]
    results = []
    for order in (networks, networks[::-1]):
        model.patches.put(KIND, Networks(tuple(order)))
        results.append(run(model))
    model.patches.take(KIND)
    assert torch.allclose(*results, atol=1e-4)
    assert not torch.allclose(results[0], run(model), atol=1e-5, rtol=0)


def test_patches_are_equal_for_the_same_networks_at_the_same_strengths():
    lora = active("lora")
    same = ActiveNetwork("lora", lora.file, 0.8, 0.8, None)
    assert Networks((lora,)) == Networks((same,)) != Networks((same, same))
    for other in (
        ActiveNetwork("lora", lora.file, 0.7, 0.8),
        ActiveNetwork("lora", lora.file, 0.8, 0.8, 1),
        active("lora"),
    ):
        assert Networks((lora,)) != Networks((other,))
    assert Networks((lora,), functional=True) != Networks((lora,))


def test_text_depends_on_what_reaches_the_text_encoder(model):
    lora, unet_only = read("lora"), read("second")

    def key(*networks):
        return Networks(networks).text_key(model)

    assert key(ActiveNetwork("a", lora, 1, 0.5)) == key(ActiveNetwork("a", lora, 1, 0.7))
    assert key(ActiveNetwork("a", lora, 1, 1)) != key(ActiveNetwork("a", lora, 0.5, 1))
    assert key(ActiveNetwork("a", lora, 1, 1)) != key(ActiveNetwork("a", lora, 1, 1, 1))
    assert key(ActiveNetwork("b", unet_only, 1, 1)) == key(ActiveNetwork("b", unet_only, 0.5, 0.5)) == key() == ()


def test_no_strength_touches_no_weight(model):
    model.patches.put(KIND, Networks((active("lora", 0, 0), active("loha", 0, 0))))
    assert model.patches.weights.originals == {}
    model.patches.put(KIND, Networks((active("lora", 0, 1),)))
    texts = {layer.weight for layer in model.layer_names.layers if layer.is_text}
    assert model.patches.weights.originals and not texts & model.patches.weights.originals.keys()
    model.patches.take(KIND)


@pytest.mark.parametrize("name", ["lora", "locon", "loha", "norm", "full", "oft"])
def test_beside_the_layers_it_is_the_same_without_a_changed_weight(model, name):
    patch, before = (active(name, 0.5, 0.5),), raw(model)
    model.patches.put(KIND, Networks(patch))
    expected = run(model)
    model.patches.put(KIND, Networks(patch, functional=True))
    assert raw(model) == before
    assert torch.allclose(run(model), expected, atol=1e-4)
    model.patches.take(KIND)
    assert not any(layer._forward_hooks for layer in model.modules())


def test_originals_are_those_of_the_touched_weights_and_go_with_the_patch(model):
    patch = Networks(SEVERAL)
    model.patches.put(KIND, patch)
    assert model.patches.weights.originals.keys() == patch(model).changes.keys()
    model.patches.take(KIND)
    assert model.patches.weights.originals == {}


def test_file_is_matched_once_for_each_model_and_forgotten_with_it(model):
    file = read("lora")
    first = match_of(model, file)
    assert match_of(model, file) is first
    other = build()
    assert match_of(other, file) is not first
    assert {target.layer for target in first.targets}.isdisjoint(t.layer for t in match_of(other, file).targets)


def test_what_is_not_used_is_named(model, tmp_path, caplog):
    known = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{known}.lora_up.weight": torch.ones(128, 1), f"{known}.lora_down.weight": torch.ones(1, 128)}
    for n in range(7):
        unknown = f"lora_unet_nowhere_{n}"
        tensors |= {f"{unknown}.lora_up.weight": torch.ones(4, 1), f"{unknown}.lora_down.weight": torch.ones(1, 4)}
    tensors["something_else"] = torch.ones(1)
    save_file(tensors, tmp_path / "a.safetensors")
    networks = Networks((ActiveNetwork("mine", adapter_files.read(str(tmp_path / "a.safetensors"))),))
    layers, key = networks.remarks(model)
    assert layers.startswith("mine: 7 layers (lora_unet_nowhere_0, ") and layers.endswith(
        "..." + ") are not in the model and not used"
    )
    assert key == "mine: 1 key (something_else) is not known and not used"
    assert caplog.text.count("nowhere_0") == 1
    assert networks.remarks(model) == [layers, key]
    assert caplog.text.count("nowhere_0") == 1


def test_bias_for_a_layer_without_one_is_told(model, tmp_path, caplog):
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_v"
    save_file({f"{layer}.diff_b": torch.ones(128)}, tmp_path / "a.safetensors")
    active = (ActiveNetwork("mine", adapter_files.read(str(tmp_path / "a.safetensors"))),)
    plain = run(model)
    model.patches.put(KIND, Networks(active, functional=True))
    assert not torch.equal(run(model), plain)
    assert Networks(active).remarks(model) == []
    model.patches.put(KIND, Networks(active))
    assert Networks(active).remarks(model) == ["Networks with errors: mine (1)"]
    assert f"{layer} cannot be changed: a bias is added, and it has none" in caplog.text
    model.patches.take(KIND)
    assert torch.equal(run(model), plain)


def test_names_are_counted_and_the_first_are_shown():
    assert named(["a"], "layer") == "1 layer (a) is"
    assert named(["a", "b"], "key") == "2 keys (a, b) are"
    assert named(list("abcdefg"), "key") == "7 keys (a, b, c, d, e, ...) are"


def test_networks_rest_on_the_current_model_and_follow_it():
    sd_models.setup_model()
    model = shared.sd_model
    patch = Networks((active("second"),))
    for _ in range(2):
        with job_wishes() as own:
            own.put(KIND, patch)
        assert model.patches.resting == {KIND: patch}
    model.patches.use()
    assert model.patches.weights.originals == {}
