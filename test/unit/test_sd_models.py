"""Which model is current: loading, switching, keeping, failing."""

import gc
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from modules import (
    call_queue,
    checkpoints,
    devices,
    latents,
    model_families,
    model_load,
    model_patches,
    processing,
    script_callbacks,
    sd_hijack,
    sd_models,
    sd_unet,
    shared,
    shared_items,
)
from modules.errors import ModelLoadError
from modules.sd_models import SkipWritingToConfig, model_data
from modules.timer import Timer
from test.unit.checkpoint_files import INPUT_CONVOLUTION, embedded_weights, write_checkpoint

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "sampler_vectors.json").read_text())
EMBEDDED = "demo-emoji.safetensors [9576f7e89f]"


def brighten(weights):
    """Makes a checkpoint that can be told from the embedded one."""
    weights["first_stage_model.decoder.conv_out.bias"] += 0.5


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A --ckpt-dir with a working and a broken checkpoint, and one that is no checkpoint."""
    folder = tmp_path_factory.mktemp("ckpt")
    write_checkpoint(folder / "bright.safetensors", brighten)
    write_checkpoint(folder / "broken.safetensors", lambda weights: weights.pop(INPUT_CONVOLUTION))
    return folder


@pytest.fixture
def folder(files, monkeypatch):
    """That folder in use and the embedded model loaded; settings, list and model are as before afterwards."""
    stored = dict(shared.opts.data)
    monkeypatch.setattr(shared.cmd_opts, "ckpt_dir", str(files))
    sd_models.setup_model()
    shared.opts.data["sd_model_checkpoint"] = "demo-emoji"
    sd_models.reload_model_weights()
    yield files
    monkeypatch.undo()
    sd_models.list_models()
    shared.opts.data.clear()
    shared.opts.data.update(stored, sd_model_checkpoint=EMBEDDED)
    keep_only_current()
    sd_models.reload_model_weights()


def keep_only_current():
    for model in model_data.loaded_sd_models[1:]:
        sd_models.send_model_to_trash(model)
    del model_data.loaded_sd_models[1:]


def choose(name):
    """Selects a checkpoint as the settings page does."""
    shared.opts.data["sd_model_checkpoint"] = name
    return sd_models.reload_model_weights()


def brightness(model):
    with torch.no_grad():
        return model.decode_first_stage(torch.zeros(1, 4, 2, 2)).mean().item()


def test_model_is_loaded_when_it_is_first_asked_for(folder):
    model_data.set_sd_model(None)
    model_data.loaded_sd_models.clear()
    found = []
    threads = [threading.Thread(target=lambda: found.append(shared.sd_model)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(model) for model in found}) == 1
    assert found[0].cond_stage_model_empty_prompt.shape == (1, 77, 128)


def test_loaded_model_knows_its_file(folder):
    model = shared.sd_model
    assert model.sd_checkpoint_info.title == EMBEDDED
    assert (model.sd_model_hash, model.filename) == ("9576f7e89f", checkpoints.embedded_checkpoint)
    assert os.path.basename(model.used_config) == "v1-inference.yaml"
    assert sd_hijack.model_hijack.clip is model.cond_stage_model


def test_callbacks_see_the_new_model(folder):
    seen = []
    script_callbacks.on_model_loaded(lambda model: seen.append((model, shared.sd_model)), name="test_sd_models")
    try:
        model = choose("bright")
    finally:
        script_callbacks.remove_current_script_callbacks()
    assert seen == [(model, model)]


def test_switching_by_setting(folder):
    before = brightness(shared.sd_model)
    model = choose("bright")
    assert shared.sd_model is model
    assert brightness(model) == pytest.approx(before + 0.5, abs=0.01)
    assert shared.opts.data["sd_model_checkpoint"] == model.sd_checkpoint_info.title
    assert shared.opts.data["sd_checkpoint_hash"] == model.sd_checkpoint_info.sha256
    assert sd_hijack.model_hijack.clip is model.cond_stage_model
    assert len(model_data.loaded_sd_models) == 1


def test_replaced_model_gives_its_memory_back(folder):
    old = shared.sd_model
    choose("bright")
    assert all(parameter.is_meta for parameter in old.parameters())


def test_nothing_happens_when_the_checkpoint_is_current(folder):
    model = shared.sd_model
    info = model.sd_checkpoint_info
    sd_models.list_models()
    assert sd_models.reload_model_weights() is model
    assert model.sd_checkpoint_info is not info, "the new entry of the list"
    assert sd_models.reload_model_weights(forced_reload=True) is not model


@pytest.mark.parametrize("name", ["broken", "gone"])
def test_current_model_survives_a_checkpoint_that_cannot_be_loaded(folder, name):
    model = shared.sd_model
    info = checkpoints.find(name) or checkpoints.CheckpointInfo(str(folder / "gone.safetensors"))
    with pytest.raises(ModelLoadError, match=name):
        sd_models.reload_model_weights(info=info)
    assert shared.sd_model is model
    assert not any(parameter.is_meta for parameter in model.parameters())
    assert shared.opts.data["sd_model_checkpoint"] == "demo-emoji"


@pytest.mark.parametrize("limit", [1, 2])
def test_current_model_comes_back_when_loading_fails_late(folder, monkeypatch, limit):
    build = model_load.build
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", limit)

    def out_of_memory(prepared, placement):
        if prepared.filename.endswith("bright.safetensors"):
            raise torch.OutOfMemoryError("no memory")
        return build(prepared, placement)

    monkeypatch.setattr(model_load, "build", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        choose("bright")
    assert shared.sd_model.sd_checkpoint_info.title == EMBEDDED
    assert not any(parameter.is_meta for parameter in shared.sd_model.parameters())
    assert sd_hijack.model_hijack.clip is shared.sd_model.cond_stage_model


def test_first_load_that_fails_is_tried_again(folder):
    model_data.set_sd_model(None)
    shared.opts.data["sd_model_checkpoint"] = "broken"
    for _ in range(2):
        with pytest.raises(ModelLoadError, match=r"broken\.safetensors"):
            _ = shared.sd_model
    shared.opts.data["sd_model_checkpoint"] = "demo-emoji"
    assert shared.sd_model is not None


def test_kept_models_are_switched_to_at_once(folder, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", 2)
    first = shared.sd_model
    second = choose("bright")
    assert model_data.loaded_sd_models == [second, first]
    assert not any(parameter.is_meta for parameter in first.parameters())
    assert choose("demo-emoji") is first
    assert model_data.loaded_sd_models == [first, second]
    assert sd_hijack.model_hijack.clip is first.cond_stage_model

    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", 1)
    sd_models.reload_model_weights(forced_reload=True)
    assert len(model_data.loaded_sd_models) == 1


def test_forced_reload_forgets_a_kept_model(folder, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", 3)
    choose("bright")
    kept = choose("demo-emoji")
    again = sd_models.reload_model_weights(info=checkpoints.find("bright"), forced_reload=True)
    assert model_data.loaded_sd_models == [again, kept]


def test_extension_decides_which_loaded_model_is_used_again(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(sd_models, "reuse_model_from_already_loaded", lambda *args: asked.append(args))
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", 3)
    first = choose("bright")
    choose("demo-emoji")
    again = choose("bright")
    assert again is not first and [info.name for _, info, _ in asked[-2:]] == [
        "demo-emoji.safetensors",
        "bright.safetensors",
    ]


def test_weights_that_an_extension_read_and_changed_are_loaded(folder):
    info, timer = checkpoints.find("bright"), Timer()
    tensors = sd_models.get_checkpoint_state_dict(info, timer)
    brighten(tensors)
    before = shared.sd_model
    sd_models.load_model_weights(before, info, tensors, timer)
    assert shared.sd_model.sd_checkpoint_info is info
    twice = brightness(shared.sd_model)
    assert twice > brightness(sd_models.reload_model_weights(info=info, forced_reload=True)) > 0
    assert set(timer.records) == {"load weights from disk", "load weights"}


def test_tokens_are_merged_until_the_job_ends(folder):
    model = shared.sd_model
    with model_patches.job_wishes():
        sd_models.apply_token_merging(model, 0.5)
        assert "token merging" in model.patches.on
    assert "token merging" not in model.patches.on


def test_kept_models_may_stay_on_the_device(folder, monkeypatch):
    moved = []
    monkeypatch.setattr(sd_models, "send_model_to_cpu", moved.append)
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", 2)
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_keep_in_cpu", False)
    first = shared.sd_model
    choose("bright")
    assert moved == []
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_keep_in_cpu", True)
    choose("demo-emoji")
    assert len(moved) == 1 and moved[0] is not first


def test_config_is_not_written_in_the_block(folder):
    with SkipWritingToConfig():
        with SkipWritingToConfig():
            pass
        model = choose_info("bright")
    assert shared.opts.data["sd_model_checkpoint"] == "demo-emoji"
    assert shared.opts.data["sd_checkpoint_hash"] == model.sd_checkpoint_info.sha256
    assert not SkipWritingToConfig.skip


def choose_info(name):
    return sd_models.reload_model_weights(info=checkpoints.find(name))


def test_job_with_its_own_checkpoint_leaves_the_settings_alone(folder):
    before = dict(shared.opts.data)
    with shared.opts.overlay({"sd_model_checkpoint": "bright"}):
        assert sd_models.reload_model_weights().sd_checkpoint_info.name_for_extra == "bright"
        assert shared.opts.data == before
    assert sd_models.reload_model_weights().sd_checkpoint_info.title == EMBEDDED


def test_unknown_checkpoint_gives_way_to_the_first(folder, caplog):
    assert choose("gone").sd_checkpoint_info.name == "bright.safetensors"
    assert "gone not found" in caplog.text


def test_checkpoints_are_listed_when_they_are_needed(folder):
    checkpoints.checkpoints_list.clear()
    checkpoints.checkpoint_aliases.clear()
    shared.opts.data["sd_model_checkpoint"] = None
    assert sd_models.select_checkpoint().name == "bright.safetensors"


def test_embedded_checkpoint_gives_way_at_the_next_start_unless_it_was_chosen(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(shared.cmd_opts, "ckpt_dir", str(tmp_path))
    sd_models.setup_model()
    shared.opts.data["sd_model_checkpoint"] = None
    sd_models.reload_model_weights(forced_reload=True)
    assert shared.opts.sd_model_checkpoint == EMBEDDED

    monkeypatch.setattr(shared.cmd_opts, "ckpt_dir", str(folder))
    sd_models.setup_model()
    assert sd_models.select_checkpoint().name == "bright.safetensors"

    choose("bright")
    choose("demo-emoji")
    sd_models.setup_model()
    assert sd_models.select_checkpoint().title == EMBEDDED


def test_choices_are_registered(folder):
    assert "bright.safetensors" in "".join(shared_items.list_checkpoint_tiles())
    (folder / "new.ckpt").write_bytes(b"x")
    shared_items.refresh_checkpoints()
    assert sd_models.get_closet_checkpoint_match("new").filename == str(folder / "new.ckpt")
    (folder / "new.ckpt").unlink()


def test_unloading_keeps_the_model_at_hand(folder):
    model = shared.sd_model
    sd_models.unload_model_weights()
    sd_models.send_model_to_device(model)
    assert shared.sd_model is model
    model_data.set_sd_model(None)
    sd_models.unload_model_weights()
    model_data.set_sd_model(model)


def test_model_that_waits_elsewhere_is_moved_to_the_device(folder, monkeypatch):
    """The device without memory stands for one that is not the CPU."""
    model = model_load.build(model_load.prepare(checkpoints.embedded_checkpoint, {}), shared.sd_model.loaded_as)
    monkeypatch.setattr(devices, "device", torch.device("meta"))
    sd_models.send_model_to_device(model)
    assert model.placement.device.type == "meta"
    sd_models.send_model_to_device(model)
    assert model.first_stage_model.device.type == "meta"


def test_model_whose_parts_take_turns_is_moved_by_parts(folder, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "medvram", True)
    model = choose("bright")
    assert model.lowvram
    model.get_learned_conditioning([""])
    sd_models.send_model_to_cpu(model)
    monkeypatch.undo()


def test_unet_of_an_extension_goes_with_its_checkpoint(folder, monkeypatch):
    class Option(sd_unet.SdUnetOption):
        label = "mine"

        def create_unet(self):
            return sd_unet.SdUnet()

    monkeypatch.setattr(sd_unet, "unet_options", [Option()])
    sd_unet.apply_unet("mine")
    assert sd_unet.current_unet is not None
    choose("bright")
    assert sd_unet.current_unet is None


def test_fp8_setting_loads_the_model_anew(folder, monkeypatch):
    model = shared.sd_model
    with shared.opts.overlay({"fp8_storage": "Enable"}):
        stored = sd_models.reload_model_weights()
    assert stored is not model
    assert devices.fp8 and stored.placement.fp8
    own = sd_models.reload_model_weights()
    assert not devices.fp8 and not own.placement.fp8


@pytest.fixture
def half_vaes(monkeypatch):
    """VAEs are loaded in float16, as on a graphics card."""
    monkeypatch.setattr(devices, "chosen", replace(devices.chosen, dtype_vae=torch.float16))


@torch.no_grad()
def decoded(model):
    """One image, after whatever saves a job whose VAE overflows."""
    return latents.decode_checked(model, torch.zeros(1, 4, 2, 2))


@torch.no_grad()
def overflow(model):
    """Makes the decoder of a model exceed float16, but not float32."""
    for parameter in model.first_stage_model.decoder.conv_in.parameters():
        parameter.mul_(3e4)


def test_vae_that_overflows_is_widened_in_its_own_model_only(folder, half_vaes, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", 2)
    first = sd_models.reload_model_weights(forced_reload=True)
    second = choose("bright")
    overflow(second)
    assert torch.isfinite(decoded(second)).all()
    assert (first.placement.dtype_vae, second.placement.dtype_vae) == (torch.float16, torch.float32)

    assert choose("demo-emoji") is first
    assert decoded(first).dtype == first.placement.dtype_vae == torch.float16
    assert choose("bright") is second
    assert decoded(second).dtype == second.placement.dtype_vae == torch.float32
    assert devices.dtype_vae == torch.float32, "the flags of the tests"

    again = sd_models.reload_model_weights(forced_reload=True)
    assert again.placement.dtype_vae == torch.float16, "the same checkpoint, loaded anew"


def image_of_job():
    p = processing.StableDiffusionProcessingTxt2Img(
        prompt="red apple", seed=1, steps=4, width=64, height=64, sampler_name="Euler a"
    )
    p.do_not_save_samples = True
    with call_queue.gpu_job("test"):
        result = processing.process_images(p)
    return np.asarray(result.images[0], dtype=float), result.infotexts[0]


def test_in_bfloat16_a_job_makes_nearly_the_same_image(folder, monkeypatch):
    expected, plain_text = image_of_job()
    wide = torch.bfloat16
    with monkeypatch.context() as flags:
        flags.setattr(devices, "chosen", devices.Precision(wide, wide, wide))
        for name in ("dtype", "dtype_vae", "dtype_unet", "dtype_inference"):
            flags.setattr(devices, name, wide)
        model = sd_models.reload_model_weights(forced_reload=True)
        try:
            assert {weight.dtype for weight in model.parameters()} == {wide}
            image, text = image_of_job()
        finally:
            flags.undo()
            sd_models.reload_model_weights(forced_reload=True)
    assert 0 < abs(image - expected).mean() < 12
    assert "Precision: bf16" in text and "Precision" not in plain_text


def test_fp8_by_kind_of_model():
    sd1, sdxl = SimpleNamespace(is_sdxl=False), SimpleNamespace(is_sdxl=True)
    for setting, expected in (
        ("Disable", (False, False)),
        ("Enable for SDXL", (False, True)),
        ("Enable", (True, True)),
    ):
        with shared.opts.overlay({"fp8_storage": setting}):
            assert (sd_models.check_fp8(sd1), sd_models.check_fp8(sdxl)) == expected


def test_mps_has_no_8_bit_weights(monkeypatch):
    monkeypatch.setattr(devices, "device", torch.device("mps"))
    with shared.opts.overlay({"fp8_storage": "Enable"}):
        assert not sd_models.check_fp8(SimpleNamespace(is_sdxl=True))


def test_limit_of_a_job_holds_while_it_loads(folder, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", 1)
    first = shared.sd_model
    with shared.opts.overlay({"sd_checkpoints_limit": 2, "sd_model_checkpoint": "bright"}):
        second = sd_models.reload_model_weights()
    assert model_data.loaded_sd_models == [second, first]
    assert shared.opts.data["sd_model_checkpoint"] == "demo-emoji"
    assert sd_models.CheckpointSettings.from_opts(shared.opts).sd_checkpoints_limit == 1


def test_only_the_loader_sees_a_model_that_is_not_ready(folder):
    current, new = shared.sd_model, object()
    seen = []
    thread = threading.Thread(target=lambda: seen.append(shared.sd_model))
    with model_data.lock, model_data.shown_to_loader(new):
        thread.start()
        assert shared.sd_model is new
    thread.join()
    assert seen == [current], "the others wait"


def test_reading_weights_of_a_file(caplog, tmp_path):
    caplog.set_level("INFO")
    path = write_checkpoint(tmp_path / "a.ckpt", lambda weights: weights.update(global_step=torch.tensor(7)))
    stored = sd_models.read_state_dict(str(path), print_global_state=True)
    assert stored.keys() - {"global_step"} == embedded_weights().keys()
    assert "7" in caplog.text


def test_zero_terminal_snr_is_that_of_the_reference(folder):
    p = SimpleNamespace(extra_generation_params={})
    with shared.opts.overlay({"sd_noise_schedule": "Zero Terminal SNR"}):
        sd_models.apply_alpha_schedule_override(shared.sd_model, p)
    alphas = shared.sd_model.alphas_cumprod
    for index, (value,) in VECTORS["zero_terminal_snr"].items():
        assert alphas[int(index)].item() == pytest.approx(value, rel=1e-4)
    assert p.extra_generation_params == {"Noise Schedule": "Zero Terminal SNR"}


def test_flow_has_no_such_schedule():
    p = SimpleNamespace(extra_generation_params={})
    model = SimpleNamespace(schedule=model_families.FlowSchedule(shift=3.0))
    with shared.opts.overlay({"use_downcasted_alpha_bar": True, "sd_noise_schedule": "Zero Terminal SNR"}):
        sd_models.apply_alpha_schedule_override(model, p)
    assert vars(model).keys() == {"schedule"} and not p.extra_generation_params


def test_schedule_is_that_of_training_again(folder):
    sd_models.apply_alpha_schedule_override(shared.sd_model)
    assert torch.equal(shared.sd_model.alphas_cumprod, embedded_weights()["alphas_cumprod"])


def test_downcast_schedule_is_half_precision(folder):
    with shared.opts.overlay({"use_downcasted_alpha_bar": True}):
        sd_models.apply_alpha_schedule_override(shared.sd_model)
    for index, (value,) in VECTORS["downcast_alphas"].items():
        assert shared.sd_model.alphas_cumprod[int(index)].item() == pytest.approx(value, rel=1e-6)

    p = SimpleNamespace(extra_generation_params={})
    with shared.opts.overlay({"use_downcasted_alpha_bar": True, "sd_noise_schedule": "Zero Terminal SNR"}):
        sd_models.apply_alpha_schedule_override(shared.sd_model, p)
    alphas = shared.sd_model.alphas_cumprod
    assert alphas.dtype == torch.float16
    assert torch.isinf(((1 - alphas) / alphas).sqrt()[-1])
    assert p.extra_generation_params == {"Downcast alphas_cumprod": True, "Noise Schedule": "Zero Terminal SNR"}
    sd_models.apply_alpha_schedule_override(shared.sd_model)


def test_switching_leaves_no_model_behind(folder):
    def models():
        gc.collect()
        return sum(type(o).__name__ == "WebuiSdModel" for o in gc.get_objects())

    for name in ("bright", "demo-emoji") * 2:
        choose(name)
    before = models()
    for name in ("bright", "demo-emoji") * 2:
        choose(name)
    assert models() == before
