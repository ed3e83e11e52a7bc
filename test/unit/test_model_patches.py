"""Patches of a model, which are undone exactly in every order, and a job's wishes, which follow the current model."""

import contextvars
import itertools
import threading
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from modules import model_patches, sd_models, shared
from modules.hypernetworks.hypernetwork import Hypernetwork, HypernetworkModule, applied
from modules.model_patches import ModelPatches, Wishes, circular_padding, job_wishes, kept, token_merging, wishes
from modules.sd_hijack import EncoderExchange, learned_vectors
from modules.sd_models import model_data
from modules.weight_patches import WeightPatch, WeightPlace
from test.unit.test_hypertile import hypertile
from test.unit.tiny_networks import hypernetwork_state, model_with, tiny_clip


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
    assert {
        tokens for name, tokens in self_attention.items() if name.startswith(("input_blocks.1.", "input_blocks.2."))
    } == {32}
    assert {tokens for name, tokens in self_attention.items() if name.startswith("middle_block.")} == {4}
    assert {tokens for name, tokens in seen.items() if ".attn2.to_q" in name} == {64, 16, 4}


def test_block_computes_what_the_method_says(model):
    from tomesd.merge import bipartite_soft_matching_random2d

    unet = model.model.diffusion_model
    block = unet.input_blocks[1][1].transformer_blocks[0]
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
        tokens = block.attn2(block.norm2(tokens), context=context) + tokens
        expected = block.ff(block.norm3(tokens)) + tokens
    assert torch.allclose(seen["out"], expected, atol=1e-5)


def test_odd_sizes_can_be_merged(model):
    with token_merging(model, 0.5):
        assert torch.isfinite(predict(model, size=(3, 5))).all()


def state_of(model):
    """All that a patch can change: weights, modes, modules, hooks, and what stands in their place on the objects."""
    rows = {}
    for name, layer in model.named_modules():
        hooks = [list(h.values()) for h in (layer._forward_pre_hooks, layer._forward_hooks)]
        mode = getattr(layer, "padding_mode", None)
        rows[name] = (id(layer), hooks, mode, sorted(vars(layer)), list(layer._buffers))
    weights = {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
    return rows, weights, [id(parameter) for parameter in model.parameters()]


def hypernetworks():
    network = Hypernetwork("a")
    network.layers = {128: tuple(HypernetworkModule(128, hypernetwork_state(128, seed=i)) for i in (1, 2))}
    return [network.set_multiplier(0.1)]


NETWORKS = hypernetworks()
TILING = hypertile.Hypertile()
SETTINGS = hypertile.TilingSettings(max_depth=3, max_tile=128, swap_size=3)
WEIGHT = "model.diffusion_model.input_blocks.0.0.weight"


def on_weight(path, change):
    return lambda model: WeightPatch({WeightPlace.at(model, path): change})


PATCHES = {
    "token merging": lambda model: token_merging(model, 0.5),
    "tiling": circular_padding,
    "circular padding": lambda model: circular_padding(model, True),
    "hypertile": lambda model: TILING.unet_tiled(model.network("denoiser"), False, (256, 256), SETTINGS),
    "hypernetworks": lambda model: applied(NETWORKS, model.model.diffusion_model),
    "learned vectors": lambda model: learned_vectors(model, EncoderExchange()),
    "weights": on_weight(WEIGHT, lambda weight: weight * 1.5),
    "more weights": on_weight(WEIGHT, lambda weight: weight + 0.5),
}


@pytest.fixture
def patches(model):
    """The patches of the model, all off, and afterwards as before."""
    before = dict(model.patches.on)
    model.patches.replace(before, {})
    yield model.patches
    model.patches.replace(dict(model.patches.on), before)


@pytest.mark.parametrize("kind", PATCHES)
def test_each_kind_is_undone_exactly(model, patches, kind):
    before = state_of(model)
    patches.put(kind, PATCHES[kind])
    assert state_of(model) != before
    patches.put(kind, PATCHES[kind])
    patches.take(kind)
    assert state_of(model) == before
    patches.take(kind)
    assert state_of(model) == before


@pytest.mark.parametrize("seed", range(6))
def test_all_together_are_undone_in_any_order(model, patches, seed):
    before = state_of(model)
    order = torch.randperm(2 * len(PATCHES), generator=torch.Generator().manual_seed(seed)) % len(PATCHES)
    kinds = list(PATCHES)
    for index in order.tolist():  # each kind is touched twice: put, then taken, among the others
        kind = kinds[index]
        patches.take(kind) if kind in patches.on else patches.put(kind, PATCHES[kind])
    assert patches.on == {}
    assert state_of(model) == before


def test_what_is_on_does_not_depend_on_the_way_there(model, patches):
    model_states = []
    for order in itertools.permutations(("tiling", "hypernetworks", "weights")):
        for kind in order:
            patches.put(kind, PATCHES[kind])
        for kind in order[:2]:
            patches.take(kind)
        patches.replace(order, {"weights": PATCHES["weights"], "tiling": PATCHES["tiling"]})
        model_states.append(predict(model))
        patches.replace(order, {})
    assert all(torch.equal(state, model_states[0]) for state in model_states)


@contextmanager
def broken_on_entry(model):
    raise ZeroDivisionError
    yield


@contextmanager
def broken_at_its_end(model):
    yield
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "broken",
    [
        broken_on_entry,
        lambda model: 1 / 0,
        on_weight(WEIGHT, lambda weight: 1 / 0),
    ],
    ids=["on entry", "in the function", "in a weight"],
)
@pytest.mark.parametrize("kind", ["new", "tiling", "weights"])
def test_patch_that_fails_leaves_those_that_are_on(model, patches, broken, kind):
    for name in ("token merging", "tiling", "weights", "hypernetworks"):
        patches.put(name, PATCHES[name])
    on, expected = dict(patches.on), predict(model)
    with pytest.raises(ZeroDivisionError):
        patches.put(kind, broken)
    assert patches.on == on
    assert torch.equal(predict(model), expected)


def test_patch_that_fails_at_its_end_is_off_and_so_are_those_taken_with_it(model, patches):
    before = state_of(model)
    for name, patch in (("tiling", circular_padding), ("broken", broken_at_its_end), ("more", circular_padding)):
        patches.put(name, patch)
    with pytest.raises(ZeroDivisionError):
        patches.replace(["broken", "more"], {})
    assert list(patches.on) == ["tiling"]
    patches.take("tiling")
    assert state_of(model) == before


def test_patch_of_the_same_kind_keeps_its_place():
    log = []

    def noted(name):
        @contextmanager
        def patch(model):
            log.append(f"+{name}")
            yield
            log.append(f"-{name}")

        return patch

    model = nn.Module()
    patches = ModelPatches(model)
    first, second, other = noted("a"), noted("b"), noted("c")
    patches.put("x", first)
    patches.put("y", second)
    patches.put("x", other)
    assert log == ["+a", "+b", "-b", "-a", "+c", "+b"]
    log.clear()
    patches.put("y", second)
    assert log == []
    patches.take("y")
    assert log == ["-b"]


def two_models():
    return model_with(tiny_clip()), model_with(tiny_clip())


@pytest.fixture
def current(monkeypatch):
    """Two models, of which the first is current, and a function that makes one current."""
    models = two_models()
    monkeypatch.setattr(model_data, "loaded_sd_models", list(models))
    monkeypatch.setattr(model_data, "sd_model", models[0])
    return models


def test_wishes_follow_the_current_model(current):
    first, second = current
    before = state_of(first), state_of(second)
    with job_wishes() as own:
        own.put("tiling", circular_padding)
        assert (list(first.patches.on), list(second.patches.on)) == (["tiling"], [])
        model_data.set_sd_model(second)
        assert (list(first.patches.on), list(second.patches.on)) == ([], ["tiling"])
        own.put("more", circular_padding)
        model_data.set_sd_model(None)
        assert (list(first.patches.on), list(second.patches.on)) == ([], [])
        model_data.set_sd_model(first)
        assert list(first.patches.on) == ["tiling", "more"]
        own.take("tiling")
        assert list(first.patches.on) == ["more"]
    assert (state_of(first), state_of(second)) == before
    model_data.set_sd_model(second)
    assert second.patches.on == {}


def test_taking_what_was_never_put_leaves_the_model_alone(current):
    with job_wishes() as own:
        own.put("tiling", circular_padding)
        before = shared.sd_model.patches.on
        own.take("token merging")
        own.rest("networks")
        assert shared.sd_model.patches.on is before and list(own.wanted) == ["tiling"]


def test_job_that_fails_leaves_nothing(current):
    first, second = current
    with pytest.raises(ZeroDivisionError), job_wishes() as own:
        own.put("tiling", circular_padding)
        model_data.set_sd_model(second)
        raise ZeroDivisionError
    assert first.patches.on == second.patches.on == {}
    assert wishes().wanted == {}


def test_wish_that_cannot_be_put_on_is_none(current):
    first, _ = current
    with job_wishes() as own:
        own.put("tiling", circular_padding)
        with pytest.raises(ZeroDivisionError):
            own.put("broken", broken_on_entry)
        assert own.wanted.keys() == first.patches.on.keys() == {"tiling"}


def test_block_gives_back_what_was_wanted_of_its_kind_and_leaves_the_rest(current):
    first, _ = current
    off = lambda model: circular_padding(model, False)  # noqa: E731
    with job_wishes() as own:
        with kept("tiling", circular_padding):
            with kept("tiling", off):
                assert own.wanted == {"tiling": off}
                own.put("other", circular_padding)  # put without a block: stays until it is taken
            assert own.wanted == {"tiling": circular_padding, "other": circular_padding}
        assert list(first.patches.on) == ["other"]
    assert first.patches.on == {}


def test_job_inside_a_job_begins_with_its_wishes_and_gives_them_back(current):
    first, second = current
    with job_wishes() as outer:
        outer.put("tiling", circular_padding)
        with job_wishes() as inner:
            assert inner.wanted == outer.wanted
            inner.take("tiling")
            inner.put("other", circular_padding)
            model_data.set_sd_model(second)
            assert list(second.patches.on) == ["other"]
        assert (list(first.patches.on), list(second.patches.on)) == ([], ["tiling"])
        model_data.set_sd_model(first)
        assert (list(first.patches.on), list(second.patches.on)) == (["tiling"], [])
    assert first.patches.on == second.patches.on == {}


def test_jobs_of_other_threads_have_their_own_wishes(current):
    first, _ = current
    seen = []

    def other():
        with job_wishes() as own:
            seen.append(dict(own.wanted))
            own.put("other", circular_padding)
            seen.append(list(first.patches.on))

    with job_wishes() as own:
        own.put("tiling", circular_padding)
        thread = threading.Thread(target=contextvars.Context().run, args=(other,))
        thread.start()
        thread.join()
        assert seen == [{}, ["tiling", "other"]]
        assert list(first.patches.on) == ["tiling"]


def test_models_that_were_freed_meanwhile_do_no_harm(current):
    first, second = current
    with job_wishes() as own:
        own.put("tiling", circular_padding)
        own.put("weights", on_weight("model.0.weight", lambda weight: weight + 1))
        first.to("meta")
        model_data.set_sd_model(second)
        assert first.patches.on == {} and list(second.patches.on) == ["tiling", "weights"]


def test_wishes_without_a_model_are_kept_until_there_is_one(current):
    own = Wishes()
    own.put("tiling", circular_padding)
    own.move_to(None)
    assert own.wanted and own.on is None
    own.take("tiling")
    assert own.wanted == {}
    assert model_patches.running_wishes.get() is not own


class Counted:
    """A patch of two weights, equal to those of its strength, that notes how often a weight was computed."""

    computed: list[float] = []

    def __init__(self, strength, paths=(WEIGHT, "first_stage_model.post_quant_conv.weight")):
        self.strength, self.paths = strength, paths

    def __eq__(self, other):
        return isinstance(other, Counted) and (self.strength, self.paths) == (other.strength, other.paths)

    def __call__(self, model):
        def change(weight):
            self.computed.append(self.strength)
            return weight + self.strength

        return WeightPatch({WeightPlace.at(model, path): change for path in self.paths})


@pytest.fixture
def job_model(model, patches, monkeypatch):
    """The model as the current one, and whose resting weights are gone at the end."""
    monkeypatch.setattr(model_data, "loaded_sd_models", [model])
    monkeypatch.setattr(model_data, "sd_model", model)
    Counted.computed.clear()
    yield model
    patches.use()


def test_weights_rest_between_jobs_that_want_the_same(job_model):
    before = state_of(job_model)
    for _ in range(3):
        with job_wishes() as own:
            own.put("weights", Counted(0.5))
            patched = predict(job_model)
    assert Counted.computed == [0.5, 0.5]
    assert (job_model.patches.on, list(job_model.patches.resting)) == ({}, ["weights"])
    assert not torch.equal(patched, predict(job_model))
    assert job_model.patches.resting == {}
    assert state_of(job_model) == before


def test_job_that_takes_over_what_rests_computes_nothing_and_leaves_it_at_rest(job_model):
    before = state_of(job_model)
    for take in (lambda own: own.put("weights", Counted(0.5)), lambda own: own.take_over()):
        with job_wishes() as own:
            take(own)
            assert list(own.wanted) == ["weights"]
            predict(job_model)
            assert job_model.patches.resting == {}
    assert Counted.computed == [0.5, 0.5]
    assert list(job_model.patches.resting) == ["weights"]
    job_model.patches.use()
    assert state_of(job_model) == before
    with job_wishes() as own:
        own.take_over()
        assert own.wanted == {}


def test_job_that_wants_another_strength_starts_from_the_originals(job_model):
    weight = job_model.get_parameter(WEIGHT)
    original = weight.clone()
    for strength in (0.5, 0.25, 0.5):
        with job_wishes() as own:
            own.put("weights", Counted(strength))
            assert torch.equal(weight, original + strength)
    job_model.patches.use()
    assert torch.equal(weight, original)


def use_denoiser(model):
    predict(model)


def use_encoder(model):
    model.get_learned_conditioning(["a"])


def use_state_dict(model):
    model.state_dict()


def switch_to_none(model):
    model_data.set_sd_model(None)


def take(model):
    model.patches.take("weights")


def put_another(model):
    model.patches.put("weights", Counted(0.0))


@pytest.mark.parametrize("use", [use_denoiser, use_encoder, use_state_dict, switch_to_none, take, put_another])
def test_whoever_uses_the_model_between_jobs_finds_the_originals(job_model, use):
    original = job_model.get_parameter(WEIGHT).clone()
    with job_wishes() as own:
        own.put("weights", Counted(0.5))
    assert not torch.equal(job_model.get_parameter(WEIGHT), original)
    use(job_model)
    assert torch.equal(job_model.get_parameter(WEIGHT), original)
    assert job_model.patches.resting == {}


def test_network_that_rests_elsewhere_is_no_hindrance_to_the_vae(job_model):
    """A job encodes its image before it says which networks it wants."""
    for path, is_in_vae in ((WEIGHT, False), ("first_stage_model.post_quant_conv.weight", True)):
        with job_wishes() as own:
            own.put("weights", Counted(0.5, (path,)))
        job_model.decode_first_stage(torch.zeros(1, 4, 2, 2))
        assert ("weights" in job_model.patches.resting) is not is_in_vae
        job_model.patches.use()


def test_contexts_do_not_rest_and_weights_beside_them_do(job_model):
    with job_wishes() as own:
        own.put("tiling", circular_padding)
        own.put("weights", Counted(0.5))
        own.put("hypernetworks", PATCHES["hypernetworks"])
    assert list(job_model.patches.resting) == ["weights"]
    assert job_model.patches._entered == []


@pytest.mark.parametrize("fails", ["wish", "job"])
def test_error_while_weights_rest_or_change_leaves_the_originals(job_model, fails):
    before = state_of(job_model)
    with job_wishes() as own:
        own.put("weights", Counted(0.5))
    with pytest.raises(ZeroDivisionError), job_wishes() as own:
        if fails == "job":
            own.put("weights", Counted(0.25))
            raise ZeroDivisionError
        own.put("weights", on_weight(WEIGHT, lambda weight: weight / (1 // 0)))
    assert (job_model.patches.on, wishes().wanted) == ({}, {})
    job_model.patches.use()
    assert state_of(job_model) == before


def test_job_inside_a_job_leaves_its_weights_to_the_outer_one(job_model):
    with job_wishes() as outer:
        outer.put("weights", Counted(0.5))
        with job_wishes() as inner:
            inner.put("weights", Counted(0.25))
        weight = job_model.get_parameter(WEIGHT).clone()
    with job_wishes() as own:
        own.put("weights", Counted(0.5))
        assert torch.equal(weight, job_model.get_parameter(WEIGHT))
    assert Counted.computed == [0.5, 0.5, 0.25, 0.25, 0.5, 0.5]


def test_model_that_is_left_waits_with_its_originals(current):
    first, second = current
    before = state_of(first)
    with job_wishes() as own:
        own.put("weights", on_weight("model.0.weight", lambda weight: weight + 1))
    assert list(first.patches.resting) == ["weights"]
    model_data.set_sd_model(second)
    assert first.patches.resting == {}
    assert state_of(first) == before
