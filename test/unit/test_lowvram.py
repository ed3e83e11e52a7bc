"""Models whose parts take turns on the device."""

import gc

import pytest
import torch

from modules import checkpoints, lowvram, model_load, sd_hijack, sd_models, shared
from modules.placement import Placement


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


@pytest.mark.parametrize("use_medvram", [True, False])
def test_results_are_the_same(model, use_medvram):
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
