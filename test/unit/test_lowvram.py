"""Models whose parts take turns on the device."""

import gc

import pytest
import torch

from modules import checkpoints, devices, lowvram, model_load, sd_hijack, sd_models, shared
from modules.memory_plan import Choice, Offload
from modules.placement import Placement
from modules.weight_patches import WeightPatch


@pytest.fixture
def model():
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {})
    cpu = torch.device("cpu")
    return model_load.build(prepared, Placement(cpu, *[torch.float32] * 3))


def run(model):
    """One call of each part, in the order of a job."""
    with torch.no_grad():
        text = model.get_learned_conditioning(["red apple"])
        eps = model.apply_model(torch.ones(1, 4, 8, 8), torch.tensor([500.0]), text)
        return model.decode_first_stage(eps), model.encode_first_stage(torch.zeros(1, 3, 32, 32)).mode()


@pytest.mark.parametrize("use_medvram", [True, False], ids=["parts", "layers"])
def test_a_forward_that_an_extension_replaces_is_called_with_all_on_the_device(model, use_medvram):
    expected, calls = run(model), []
    lowvram.setup_for_low_vram(model, use_medvram)
    layout = model.model.diffusion_model
    originals = {path: layout.get_submodule(path).forward for path in ("", "input_blocks.1", "middle_block.1")}

    def put(path):
        def forward(*args, **kwargs):
            calls.append(path)
            return originals[path](*args, **kwargs)

        layout.get_submodule(path).forward = forward

    for path in originals:
        put(path)
    assert all(map(torch.equal, run(model), expected))
    assert calls == list(originals)
    for path, original in originals.items():
        layout.get_submodule(path).forward = original
    assert all(map(torch.equal, run(model), expected))
    assert len(calls) == len(originals)


def in_fp8():
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {})
    return model_load.build(prepared, Placement(torch.device("cpu"), *[torch.float32] * 3, fp8=True))


@pytest.mark.parametrize("fp8", [False, True], ids=["plain", "fp8"])
@pytest.mark.parametrize("use_medvram", [True, False], ids=["parts", "layers"])
def test_results_are_the_same(model, use_medvram, fp8):
    model = in_fp8() if fp8 else model
    expected = run(model)
    lowvram.setup_for_low_vram(model, use_medvram)
    assert lowvram.is_enabled(model)
    for a, b in zip(run(model), expected, strict=True):
        assert torch.equal(a, b)


def test_the_part_called_last_is_on_the_device(model):
    lowvram.setup_for_low_vram(model, use_medvram=True)
    group = lowvram.groups[model]
    with torch.no_grad():
        text = model.get_learned_conditioning([""])
        assert group.active is model.cond_stage_model
        model.apply_model(torch.ones(1, 4, 8, 8), torch.tensor([500.0]), text)
        assert group.active is model.model
        model.first_stage_model.encode(torch.zeros(1, 3, 16, 16))
        assert group.active is model.first_stage_model
    lowvram.send_everything_to_cpu()
    assert group.active is None


def test_parts_move_when_their_turn_comes_and_goes():
    moves = []

    class Part(torch.nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def to(self, device):
            moves.append((self.name, torch.device(device).type))
            return self

    first, second = Part("first"), Part("second")
    group = lowvram.TakingTurns(torch.device("meta"))
    for part in (first, first, second):
        group.bring(part)
    group.bring(None)
    assert moves == [("first", "meta"), ("first", "cpu"), ("second", "meta"), ("second", "cpu")]


def test_a_part_that_does_not_fit_is_away_and_so_is_the_one_before_it():
    class Part(torch.nn.Linear):
        fits = True

        def to(self, device):
            if torch.device(device).type == "meta" and not self.fits:
                raise torch.OutOfMemoryError("out of memory")
            self.where = torch.device(device).type
            return self

    first, second = Part(1, 1), Part(1, 1)
    second.fits = False
    group = lowvram.TakingTurns(torch.device("meta"))
    group.bring(first)
    with pytest.raises(torch.OutOfMemoryError):
        group.bring(second)
    assert (first.where, second.where, group.active) == ("cpu", "cpu", None)
    second.fits = True
    group.bring(first)
    group.bring(second)
    assert (first.where, second.where, group.active) == ("cpu", "meta", second)


def test_who_asks_for_a_turn_is_told_where_it_is(model):
    assert lowvram.give_turn(model, model.first_stage_model) == model.loaded_as.device
    lowvram.setup_for_low_vram(model, use_medvram=True)
    assert lowvram.give_turn(model, model.first_stage_model) == devices.device
    assert lowvram.groups[model].active is model.first_stage_model


def test_a_replaced_part_takes_over_the_turns(model):
    lowvram.setup_for_low_vram(model, use_medvram=True)
    old = model.first_stage_model
    with torch.no_grad():
        old.decode(torch.zeros(1, 4, 2, 2))
    new = model_load.load_vae(checkpoints.embedded_checkpoint, model.family, model.placement)
    lowvram.replace_part(model, old, new)
    group = lowvram.groups[model]
    assert group.active is None
    with torch.no_grad():
        old.decode(torch.zeros(1, 4, 2, 2))
        assert group.active is None
        new.decode(torch.zeros(1, 4, 2, 2))
    assert group.active is new


def test_parts_that_take_turns_are_placed_in_main_memory_in_their_types(model):
    lowvram.setup_for_low_vram(model, use_medvram=True)
    run(model)
    assert model.placement == model.loaded_as
    lowvram.groups[model].active.to(torch.bfloat16)  # the VAE was called last
    assert model.placement.dtype_vae == torch.bfloat16
    with torch.no_grad():
        assert model.decode_first_stage(torch.zeros(1, 4, 2, 2)).dtype == torch.bfloat16


def test_a_model_that_is_gone_has_no_turns(model):
    lowvram.setup_for_low_vram(model, use_medvram=True)
    known = len(lowvram.groups)
    other = model_load.build(model_load.prepare(checkpoints.embedded_checkpoint, {}), model.loaded_as)
    lowvram.setup_for_low_vram(other, use_medvram=False)
    assert len(lowvram.groups) == known + 1
    del other
    gc.collect()
    assert len(lowvram.groups) == known


def test_a_freed_model_that_something_holds_is_moved_no_more(model):
    lowvram.setup_for_low_vram(model, use_medvram=True)
    run(model)
    sd_models.send_model_to_trash(model)
    lowvram.send_everything_to_cpu()
    assert all(parameter.is_meta for parameter in model.first_stage_model.parameters())


def test_setting_up_twice_does_nothing(model):
    lowvram.setup_for_low_vram(model, use_medvram=True)
    group = lowvram.groups[model]
    lowvram.setup_for_low_vram(model, use_medvram=True)
    assert lowvram.groups[model] is group


def test_flags_decide(model, monkeypatch):
    monkeypatch.setattr(shared, "parallel_processing_allowed", True)
    lowvram.apply(model)
    assert not lowvram.is_enabled(model)
    monkeypatch.setattr(shared.cmd_opts, "medvram_sdxl", True)
    assert not lowvram.is_needed(model)
    monkeypatch.setattr(shared.cmd_opts, "medvram", True)
    lowvram.apply(model)
    assert lowvram.is_enabled(model)
    assert shared.parallel_processing_allowed is False


def test_learned_words_still_reach_the_text_encoder(model):
    sd_hijack.model_hijack.hijack(model)
    expected = run(model)
    lowvram.setup_for_low_vram(model, use_medvram=True)
    assert torch.equal(run(model)[0], expected[0])


def doubled(place):
    return lambda model: WeightPatch({place: lambda weight: weight * 2})


@pytest.mark.parametrize("use_medvram", [True, False], ids=["parts", "layers"])
def test_changed_weights_count_and_come_back(model, use_medvram):
    place = next(iter(model.weight_places["model.diffusion_model.input_blocks.0.0.weight"]))
    original = place.stored.clone()
    expected = run(model)
    model.patches.put("twice", doubled(place))
    changed = run(model)
    model.patches.take("twice")
    lowvram.setup_for_low_vram(model, use_medvram)
    model.patches.put("twice", doubled(place))
    assert all(map(torch.equal, run(model), changed))
    model.patches.take("twice")
    assert torch.equal(place.stored, original)
    assert all(map(torch.equal, run(model), expected))


@pytest.mark.parametrize("use_medvram", [True, False], ids=["parts", "layers"])
def test_an_error_in_the_middle_leaves_all_right(model, monkeypatch, use_medvram):
    expected = run(model)
    lowvram.setup_for_low_vram(model, use_medvram)
    place = next(iter(model.weight_places["model.diffusion_model.middle_block.0.in_layers.2.weight"]))

    def fail(module, args):
        raise torch.OutOfMemoryError("out of memory")

    handle = place.module.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        run(model)
    handle.remove()
    model.patches.put("twice", doubled(place))
    model.patches.take("twice")
    assert all(map(torch.equal, run(model), expected))


def test_a_layer_with_a_copy_of_its_own_is_changed_there(model):
    """With a stream, group offloading begins each call with its copy in main memory."""
    lowvram.setup_for_low_vram(model, use_medvram=False)
    place = next(iter(model.weight_places["model.diffusion_model.input_blocks.0.0.weight"]))
    group = place.module._diffusers_hook.get_hook("group_offloading").group
    copy = group.cpu_param_dict[place.parameter] = place.parameter.data.clone()
    assert place.stored is copy
    lowvram.forget(model)
    assert place.stored is not copy  # nothing holds it any more


def test_flags_ask_by_kind_of_model(model, monkeypatch):
    flags = shared.cmd_opts
    assert lowvram.by_flags(model) == Choice()
    monkeypatch.setattr(flags, "medvram_sdxl", True)
    assert lowvram.by_flags(model) == Choice()
    monkeypatch.setattr(flags, "medvram", True)
    assert lowvram.by_flags(model) == Choice(Offload.PARTS, "--medvram")
    monkeypatch.setattr(flags, "lowvram", True)
    assert lowvram.by_flags(model) == Choice(Offload.BLOCKS, "--lowvram")


CARD = Placement(torch.device("cuda"), *[torch.float16] * 3)


@pytest.mark.parametrize(("missing", "offload"), [(0, Offload.NONE), (1, Offload.PARTS), (2**40, Offload.BLOCKS)])
def test_what_is_free_decides_without_flags(monkeypatch, settings, missing, offload):
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {})
    free = lowvram.sizes_of(prepared, CARD).needed(Offload.NONE) - missing
    monkeypatch.setattr(devices, "free_memory", lambda on: free)
    choice = lowvram.choose(prepared, CARD)
    assert (choice.offload, choice.free) == (offload, free)
    assert choice.reason == ("default" if offload == Offload.NONE else "automatic")
    settings(offload_automatically=False)
    assert lowvram.choose(prepared, CARD).offload == Offload.NONE
    monkeypatch.setattr(shared.cmd_opts, "medvram", True)
    assert lowvram.choose(prepared, CARD).offload == Offload.PARTS


def test_main_memory_is_no_device_to_be_cleared(monkeypatch):
    monkeypatch.setattr(devices, "free_memory", lambda on: 0)
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {})
    assert lowvram.choose(prepared, Placement(torch.device("cpu"), *[torch.float32] * 3)).offload == Offload.NONE


def test_weights_in_8_bits_count_as_such():
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {})
    plain = lowvram.sizes_of(prepared, CARD)
    narrow = lowvram.sizes_of(prepared, Placement(torch.device("cuda"), *[torch.float16] * 3, fp8=True))
    assert (narrow.denoiser, narrow.text, narrow.vae) == (plain.denoiser // 2, plain.text // 2, plain.vae)
