"""engine: architecture files (.yaml): which one belongs to a checkpoint, and what of it the weights cannot say.

Networks are built from the shapes of their weights, so a file is never needed. One that lies beside a checkpoint still
decides what the network was trained to predict and on which noise.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modules import model_families, shared, weights
from modules.errors import ModelLoadError

if TYPE_CHECKING:
    from modules.checkpoints import CheckpointInfo

sd_configs_path: str = shared.sd_configs_path
config_default: str = shared.cmd_opts.config


@dataclass(frozen=True)
class ConfigOverrides:
    """What an architecture file, the metadata or the markers of a checkpoint say about it.

    None where they say nothing. zero_terminal_snr: it was trained on a schedule that ends in pure noise.
    """

    parameterization: str | None = None
    schedule: model_families.NoiseSchedule | None = None
    zero_terminal_snr: bool = False


V_PREDICTION = "v_pred"
ZERO_TERMINAL_SNR = "ztsnr"
"""Empty weights that checkpoints are marked with: what the network predicts, and that its schedule ends in noise."""

PREDICTION_TYPES = {"eps": "eps", "epsilon": "eps", "v": "v", "v_prediction": "v", "v-prediction": "v"}
"""What files call a prediction type -> what we call it."""

SCALINGS = {"EpsScaling": "eps", "VScaling": "v"}
"""Classes of the package sgm, by which architecture files for XL say what the network predicts -> what we call it."""

ARCHITECTURES = {"stable-diffusion-v2-512": "eps", "stable-diffusion-v2-768-v": "v"}
"""Architectures, as metadata name them, that say what the network predicts although no shape does."""


def find_checkpoint_config_near_filename(info: CheckpointInfo | None) -> str | None:
    """Returns the .yaml of the same name beside a checkpoint, None if there is none."""
    if info is None:
        return None
    config = os.path.splitext(info.filename)[0] + ".yaml"
    return config if os.path.exists(config) else None


def guess_model_config_from_state_dict(sd: weights.StateDict, filename: str) -> str:
    """Returns the path of the architecture file that v1.10.1 has for such weights; it need not be there."""
    family = model_families.detect(weights.shapes_of(sd))
    if family is None or family.config == model_families.SD1.config:
        return config_default
    return os.path.join(sd_configs_path, family.config)


def find_checkpoint_config(state_dict: weights.StateDict, info: CheckpointInfo | None) -> str:
    """Returns the architecture file of a checkpoint: the one beside it, else the one for its weights."""
    beside = find_checkpoint_config_near_filename(info)
    return beside or guess_model_config_from_state_dict(state_dict, info.filename if info else "")


def read_overrides(config: str | None, metadata: Mapping[str, Any], keys: Container[str] = ()) -> ConfigOverrides:
    """Returns what the architecture file (if any) says, else what the metadata says, else what the keys of weights say.

    Raises ModelLoadError for a file that is no YAML, or that has values of the wrong kind.
    """
    params = read_model_params(config) if config else {}
    marked = "v" if V_PREDICTION in keys else ARCHITECTURES.get(str(metadata.get("modelspec.architecture")))
    said = params.get("parameterization") or SCALINGS.get(scaling_of(params))
    prediction = said or metadata.get("modelspec.prediction_type", marked)
    zero_terminal_snr = params.get("zero_terminal_snr", str(metadata.get("ss_zero_terminal_snr")) == "True")
    return ConfigOverrides(
        PREDICTION_TYPES.get(prediction),
        noise_schedule(params, config),
        bool(zero_terminal_snr) or ZERO_TERMINAL_SNR in keys,
    )


def read_model_params(config: str) -> Mapping[str, Any]:
    """Returns the section model.params of an architecture file."""
    import yaml

    try:
        with open(config, encoding="utf8") as file:
            content = yaml.safe_load(file)
        params = content["model"]["params"]
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as e:
        raise ModelLoadError(f"{config} is not an architecture file (YAML with model: params:): {e}") from e
    return params if isinstance(params, Mapping) else {}


def scaling_of(params: Mapping[str, Any]) -> str:
    """Returns the class that scales what a network predicts in an architecture file for XL, "" where there is none."""
    place: Any = params
    for key in ("denoiser_config", "params", "scaling_config", "target"):
        place = place.get(key) if isinstance(place, Mapping) else None
    return str(place or "").rpartition(".")[2]


def noise_schedule(params: Mapping[str, Any], config: str | None) -> model_families.NoiseSchedule | None:
    """Returns the betas an architecture file asks for, None if it leaves them open."""
    kinds = {"linear_start": float, "linear_end": float, "timesteps": int}
    try:
        values = {key: kind(params[key]) for key, kind in kinds.items() if key in params}
    except (TypeError, ValueError) as e:
        raise ModelLoadError(f"{config}: linear_start, linear_end and timesteps have to be numbers: {e}") from e
    return model_families.NoiseSchedule(**values) if values else None
