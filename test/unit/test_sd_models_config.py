"""Architecture files beside checkpoints."""

import json
import os
from types import SimpleNamespace

import pytest

from modules import sd_models_config
from modules.errors import ModelLoadError
from modules.sd_models_config import ConfigOverrides
from test.unit.checkpoint_files import embedded_weights, with_input_channels


def write(tmp_path, text):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return str(path)


def test_file_of_the_same_name_is_found(tmp_path):
    info = SimpleNamespace(filename=str(tmp_path / "model.safetensors"))
    assert sd_models_config.find_checkpoint_config_near_filename(info) is None
    path = write(tmp_path, "")
    assert sd_models_config.find_checkpoint_config_near_filename(info) == path
    assert sd_models_config.find_checkpoint_config({}, info) == path
    assert sd_models_config.find_checkpoint_config_near_filename(None) is None


@pytest.mark.parametrize(("channels", "name"), [(9, "v1-inpainting-inference.yaml"), (8, "instruct-pix2pix.yaml")])
def test_guess_for_models_that_take_a_picture(channels, name):
    weights = embedded_weights()
    with_input_channels(channels)(weights)
    assert os.path.basename(sd_models_config.find_checkpoint_config(weights, None)) == name


def test_guess_for_others_is_the_default():
    assert (
        sd_models_config.guess_model_config_from_state_dict(embedded_weights(), "") == sd_models_config.config_default
    )
    assert sd_models_config.guess_model_config_from_state_dict({}, "") == sd_models_config.config_default


def test_nothing_is_said_without_file_and_metadata():
    assert sd_models_config.read_overrides(None, {}) == ConfigOverrides()


@pytest.mark.parametrize(("text", "expected"), [("epsilon", "eps"), ("v", "v"), ("v_prediction", "v"), ("other", None)])
def test_prediction_type_of_the_metadata(text, expected):
    assert sd_models_config.read_overrides(None, {"modelspec.prediction_type": text}).parameterization == expected


def test_file_beats_metadata(tmp_path):
    config = write(
        tmp_path, "model:\n  params:\n    parameterization: v\n    linear_start: 0.001\n    timesteps: 500\n"
    )
    overrides = sd_models_config.read_overrides(config, {"modelspec.prediction_type": "epsilon"})
    assert overrides.parameterization == "v"
    assert (overrides.schedule.linear_start, overrides.schedule.linear_end) == (0.001, 0.012)
    assert overrides.schedule.timesteps == 500


@pytest.mark.parametrize("text", ["", "a: b", "model: 5", "model: {params", "model:\n  params:\n    timesteps: many"])
def test_other_files_are_named(tmp_path, text):
    with pytest.raises(ModelLoadError, match=r"model\.yaml"):
        sd_models_config.read_overrides(write(tmp_path, text), {})


def test_params_may_be_empty(tmp_path):
    assert sd_models_config.read_overrides(write(tmp_path, "model:\n  params:\n"), {}) == ConfigOverrides()


@pytest.mark.parametrize(("name", "expected"), [("stable-diffusion-v2-768-v", "v"), ("stable-diffusion-v2-512", "eps")])
def test_architecture_of_the_metadata(name, expected):
    said = {"modelspec.architecture": name}
    assert sd_models_config.read_overrides(None, said).parameterization == expected
    said["modelspec.prediction_type"] = "v" if expected == "eps" else "epsilon"
    assert sd_models_config.read_overrides(None, said).parameterization != expected


@pytest.mark.parametrize(("scaling", "expected"), [("VScaling", "v"), ("EpsScaling", "eps"), ("EDMScaling", None)])
def test_architecture_files_for_xl_say_it_by_a_class(tmp_path, scaling, expected):
    target = f"sgm.modules.diffusionmodules.denoiser_scaling.{scaling}"
    params = {"denoiser_config": {"params": {"scaling_config": {"target": target}}}}
    (tmp_path / "model.yaml").write_text(json.dumps({"model": {"params": params}}))
    assert sd_models_config.read_overrides(str(tmp_path / "model.yaml"), {}).parameterization == expected
    assert sd_models_config.scaling_of({"denoiser_config": "odd"}) == ""
