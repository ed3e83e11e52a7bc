"""VAE files: which one a checkpoint gets, and putting it into the model."""

import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from modules import devices, hashes, latents, sd_models, sd_vae, shared, shared_items
from modules.errors import ModelLoadError
from test.unit.checkpoint_files import vae_weights


@pytest.fixture(scope="module")
def model():
    sd_models.setup_model()
    return shared.sd_model


@pytest.fixture(scope="module")
def darker(tmp_path_factory):
    """A folder with a VAE that paints everything darker."""
    stored = vae_weights()
    stored["decoder.conv_out.bias"] = stored["decoder.conv_out.bias"] - 0.5
    folder = tmp_path_factory.mktemp("vae")
    save_file(stored, folder / "darker.safetensors")
    return folder


@pytest.fixture
def folder(darker, monkeypatch):
    """That folder as --vae-dir, listed."""
    monkeypatch.setattr(shared.cmd_opts, "vae_dir", str(darker))
    sd_vae.refresh_vae_list()
    yield darker
    monkeypatch.undo()
    sd_vae.refresh_vae_list()


@pytest.fixture
def clean(model):
    yield
    sd_vae.load_vae(model, None)


def setting(**values):
    return shared.opts.overlay(values)


def test_list_has_all_of_the_vae_folders_and_vae_files_beside_checkpoints(tmp_path, monkeypatch):
    (tmp_path / "ckpt" / "sub").mkdir(parents=True)
    (tmp_path / "vae").mkdir()
    for path in ("ckpt/sub/m.vae.pt", "ckpt/m.safetensors", "vae/v10.ckpt", "vae/v2.safetensors", "vae/readme.txt"):
        (tmp_path / path).touch()
    monkeypatch.setattr(shared.cmd_opts, "ckpt_dir", str(tmp_path / "ckpt"))
    monkeypatch.setattr(shared.cmd_opts, "vae_dir", str(tmp_path / "vae"))
    shared_items.refresh_vae_list()
    assert shared_items.sd_vae_items() == ["Automatic", "None", "m.vae.pt", "v2.safetensors", "v10.ckpt"]
    monkeypatch.undo()
    sd_vae.refresh_vae_list()
    assert sd_vae.vae_dict == {}


def test_automatic_is_the_checkpoints_own(folder):
    assert sd_vae.resolve_vae("/m/model.safetensors").tuple() == (None, None)


def test_setting_names_a_file(folder, caplog):
    path = str(folder / "darker.safetensors")
    with setting(sd_vae="darker.safetensors"):
        assert sd_vae.resolve_vae("/m/model.safetensors").tuple() == (path, "specified in settings")
    with setting(sd_vae="gone.pt"):
        assert sd_vae.resolve_vae("/m/model.safetensors").vae is None
    assert "gone.pt" in caplog.text
    with setting(sd_vae="None"):
        assert sd_vae.resolve_vae(path).vae is None


def test_file_of_the_checkpoints_name_under_automatic(folder):
    assert sd_vae.find_vae_near_checkpoint("/m/dark.ckpt") == str(folder / "darker.safetensors")
    assert sd_vae.find_vae_near_checkpoint("/m/light.ckpt") is None
    assert sd_vae.resolve_vae("/m/dark.ckpt").source == "found near the checkpoint"
    with setting(sd_vae="None"):
        assert sd_vae.resolve_vae("/m/dark.ckpt").vae is None
    with setting(sd_vae="None", sd_vae_overrides_per_model_preferences=False):
        assert sd_vae.resolve_vae("/m/dark.ckpt").source == "found near the checkpoint"


@pytest.mark.parametrize("exact", ["second.vae.safetensors", "second.vae.pt", "second.ckpt"])
def test_file_of_exactly_the_checkpoints_name_comes_first(tmp_path, monkeypatch, exact):
    others = ("second-v2.vae.safetensors", "second.1.vae.pt", "second .safetensors")
    for name in (exact, *others):
        (tmp_path / name).touch()
    monkeypatch.setattr(shared.cmd_opts, "vae_dir", str(tmp_path))
    sd_vae.refresh_vae_list()
    assert sd_vae.find_vae_near_checkpoint("/m/second.safetensors") == str(tmp_path / exact)
    assert sd_vae.find_vae_near_checkpoint("/m/second-v2.ckpt") == str(tmp_path / others[0])
    (tmp_path / exact).unlink()
    sd_vae.refresh_vae_list()
    assert os.path.basename(sd_vae.find_vae_near_checkpoint("/m/second.safetensors")) in others
    monkeypatch.undo()
    sd_vae.refresh_vae_list()


@pytest.mark.parametrize("name", ["Automatic", "auto"])
def test_automatic_overrides_nothing(folder, name):
    with setting(sd_vae=name, sd_vae_overrides_per_model_preferences=True):
        assert sd_vae.is_automatic()
        assert not sd_vae.VaeSettings.from_opts(shared.opts).overrides
    with setting(sd_vae="None", sd_vae_overrides_per_model_preferences=True):
        assert not sd_vae.is_automatic()
        assert sd_vae.VaeSettings.from_opts(shared.opts).overrides


def test_note_of_the_user(folder, tmp_path):
    checkpoint = str(tmp_path / "darker-model.safetensors")
    note = tmp_path / "darker-model.json"
    note.write_text(json.dumps({"vae": "darker.safetensors"}))
    assert sd_vae.resolve_vae(checkpoint).source == "from user metadata"
    note.write_text(json.dumps({"vae": "None"}))
    assert sd_vae.resolve_vae(checkpoint) == sd_vae.VaeResolution()
    note.write_text(json.dumps({"vae": "Automatic"}))
    assert not sd_vae.resolve_vae_from_user_metadata(checkpoint).resolved


def test_flag_beats_everything(folder, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "vae_path", "/x/y.pt")
    with setting(sd_vae="darker.safetensors"):
        assert sd_vae.resolve_vae("/m/dark.ckpt").tuple() == ("/x/y.pt", "from commandline argument")


def test_vae_comes_and_goes(folder, model, clean):
    latent = torch.zeros(1, 4, 4, 4)
    with torch.no_grad():
        before = model.decode_first_stage(latent)
        own = model.first_stage_model
        with setting(sd_vae="darker.safetensors"):
            assert sd_vae.reload_vae_weights() is model
        assert torch.allclose(model.decode_first_stage(latent), before - 0.5, atol=1e-2)
        assert sd_vae.get_loaded_vae_name() == "darker.safetensors"
        assert sd_vae.get_loaded_vae_hash() == hashes.calculate_sha256(str(folder / "darker.safetensors"))[:10]
        assert sd_vae.loaded_vae_file == str(folder / "darker.safetensors")
        assert own not in list(model.modules())

        sd_vae.reload_vae_weights(model)
        assert model.first_stage_model is own
        assert torch.equal(model.decode_first_stage(latent), before)
    assert sd_vae.get_loaded_vae_name() is None
    assert sd_vae.get_loaded_vae_hash() is None


def test_two_files_in_a_row_keep_the_checkpoints_own(folder, model, clean, tmp_path):
    own = model.first_stage_model
    second = tmp_path / "second.pt"
    torch.save(vae_weights(), second)
    sd_vae.reload_vae_weights(model, str(folder / "darker.safetensors"))
    sd_vae.reload_vae_weights(model, str(second))
    assert model.loaded_vae.file == str(second)
    assert model.loaded_vae.own is own
    sd_vae.reload_vae_weights(model, None)
    assert model.first_stage_model is own


def test_another_vae_starts_from_the_flags_choice_and_the_own_comes_back_as_it_was(folder, model, clean, monkeypatch):
    own = model.first_stage_model
    kept = {name: weight.clone() for name, weight in own.state_dict().items()}
    monkeypatch.setattr(devices, "chosen", replace(devices.chosen, dtype_vae=torch.float16))
    try:
        latents.set_vae_dtype(model, torch.bfloat16)
        sd_vae.load_vae(model, str(folder / "darker.safetensors"))
        assert model.placement.dtype_vae == torch.float16
        sd_vae.load_vae(model, None)
        assert model.placement.dtype_vae == own.dtype == torch.bfloat16
    finally:
        own.to(torch.float32).load_state_dict(kept)


def test_broken_file_leaves_the_vae(folder, model, clean, tmp_path):
    own = model.first_stage_model
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"oh no")
    for path in (broken, tmp_path / "gone.pt"):
        with pytest.raises(ModelLoadError, match=path.stem):
            sd_vae.reload_vae_weights(model, str(path))
    assert model.first_stage_model is own
    assert sd_vae.get_loaded_vae_name() is None


def test_weights_of_training_are_left_out(tmp_path):
    path = str(tmp_path / "a.pt")
    torch.save({"x": torch.ones(1), "loss.y": torch.ones(1), "model_ema.decay": torch.ones(1)}, path)
    assert list(sd_vae.load_vae_dict(path, "cpu")) == ["x"]


def test_names_in_the_list_are_file_names():
    assert sd_vae.get_filename(os.path.join("a", "b.pt")) == "b.pt"
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sd_vae.no_such_name


def test_file_that_is_forgotten_is_read_anew(folder, model, clean):
    with setting(sd_vae="darker.safetensors"):
        sd_vae.reload_vae_weights()
        first = model.first_stage_model
        sd_vae.reload_vae_weights()
        assert model.first_stage_model is first
        sd_vae.clear_loaded_vae()
        sd_vae.reload_vae_weights()
        assert model.first_stage_model is not first
        assert sd_vae.get_loaded_vae_name() == "darker.safetensors"
        sd_vae.clear_loaded_vae()
    sd_vae.reload_vae_weights()
    assert sd_vae.get_loaded_vae_name() is None and model.loaded_vae.own is None
