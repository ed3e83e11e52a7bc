"""engine: VAE files: which there are, which one a checkpoint gets, and putting it into the loaded model.

A model whose VAE came from a file keeps its own one aside, in main memory. What is in use is noted on the model.
"""

from __future__ import annotations

import glob
import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modules import (
    checkpoints,
    devices,
    extra_networks,
    hashes,
    lowvram,
    model_load,
    paths,
    shared,
    shared_items,
    util,
    weights,
)
from modules.errors import ModelLoadError
from modules.model_families import VAE, diffusers_names
from modules.options import OptionValues
from modules.placement import Placement
from modules.sd_models_types import LoadedVae, WebuiSdModel

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL

logger = logging.getLogger(__name__)

vae_path: str = os.path.abspath(os.path.join(paths.models_path, "VAE"))

EXTENSIONS = ("ckpt", "pt", "safetensors")
SHORT_HASH_LENGTH = 10

vae_dict: dict[str, str] = {}
"""Name of a VAE file, as the setting sd_vae holds it -> its path."""

unspecified = object()


def __getattr__(name: str) -> Any:
    """Returns `loaded_vae_file`, under which extensions look for the file the current model's VAE came from."""
    if name == "loaded_vae_file":
        return shared.sd_model.loaded_vae.file
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class VaeSettings(OptionValues):
    """Which VAE the user chose. The names are those of the options."""

    sd_vae: str
    sd_vae_overrides_per_model_preferences: bool

    @property
    def is_automatic(self) -> bool:
        """Whether the choice is left to the checkpoint."""
        return self.sd_vae in ("Automatic", "auto")

    @property
    def overrides(self) -> bool:
        """Whether the choice holds for checkpoints that have a VAE noted or beside them too."""
        return self.sd_vae_overrides_per_model_preferences and not self.is_automatic


@dataclass
class VaeResolution:
    """Which VAE a checkpoint gets and why. vae: path, None for its own. resolved: False if this rule says nothing."""

    vae: str | None = None
    source: str | None = None
    resolved: bool = True

    def tuple(self) -> tuple[str | None, str | None]:
        """Returns path and reason."""
        return self.vae, self.source


def get_loaded_vae_name() -> str | None:
    """Returns the file name of the VAE in use, None for the checkpoint's own."""
    filename = shared.sd_model.loaded_vae.file
    return os.path.basename(filename) if filename else None


def get_loaded_vae_hash() -> str | None:
    """Returns the first ten digits of the sha256 of the VAE file in use.

    None for the checkpoint's own and under --no-hashing.
    """
    filename = shared.sd_model.loaded_vae.file
    sha256 = hashes.sha256(filename, f"vae/{os.path.basename(filename)}") if filename else None
    return sha256[:SHORT_HASH_LENGTH] if sha256 else None


def get_filename(filepath: str) -> str:
    """Returns the name a VAE file is listed under."""
    return os.path.basename(filepath)


def refresh_vae_list() -> None:
    """Finds the VAE files anew: all below the VAE folders, and *.vae.* below the checkpoint folders."""
    found: dict[str, str] = {}
    places = [
        (checkpoints.model_path, "*.vae."),
        (shared.cmd_opts.ckpt_dir, "*.vae."),
        (vae_path, "*."),
        (shared.cmd_opts.vae_dir, "*."),
    ]
    for folder, pattern in places:
        if folder and os.path.isdir(folder):
            for extension in EXTENSIONS:
                paths_found = glob.glob(os.path.join(glob.escape(folder), "**", pattern + extension), recursive=True)
                found |= {get_filename(path): path for path in paths_found}
    vae_dict.clear()
    vae_dict.update(sorted(found.items(), key=lambda item: util.natural_sort_key(item[0])))


def find_vae_near_checkpoint(checkpoint_file: str) -> str | None:
    """Returns the listed VAE of the checkpoint's name, "model.vae.pt" for "model.safetensors".

    Without one it is the first whose name starts so, "model-v2.vae.pt".
    """
    stem = os.path.basename(checkpoint_file).rsplit(".", 1)[0]
    near = [path for path in list(vae_dict.values()) if os.path.basename(path).startswith(stem)]
    return next(
        (path for path in near if stem in (_stem(path), _stem(path).removesuffix(".vae"))), next(iter(near), None)
    )


def _stem(path: str) -> str:
    return os.path.basename(path).rsplit(".", 1)[0]


def is_automatic() -> bool:
    """Returns whether the setting sd_vae leaves the choice to the checkpoint."""
    return VaeSettings.from_opts(shared.opts).is_automatic


def resolve_vae_from_setting() -> VaeResolution:
    """Returns what the setting sd_vae says.

    "None", "Automatic" and names of files that are gone stand for the checkpoint's own.
    """
    settings = VaeSettings.from_opts(shared.opts)
    name = settings.sd_vae
    if name == "None" or settings.is_automatic:
        return VaeResolution()
    if name in vae_dict:
        return VaeResolution(vae_dict[name], "specified in settings")
    logger.warning("there is no VAE named %s: using the checkpoint's own", name)
    return VaeResolution()


def resolve_vae_from_user_metadata(checkpoint_file: str) -> VaeResolution:
    """Returns what the user noted with the checkpoint: "vae" in the JSON file beside it."""
    name = extra_networks.get_user_metadata(checkpoints.companion_of(checkpoint_file)).get("vae")
    if name == "None":
        return VaeResolution()
    if name in vae_dict:
        return VaeResolution(vae_dict[name], "from user metadata")
    return VaeResolution(resolved=False)


def resolve_vae_near_checkpoint(checkpoint_file: str) -> VaeResolution:
    """Returns the VAE of the checkpoint's name, unless a choice of the user overrides it."""
    path = find_vae_near_checkpoint(checkpoint_file)
    if path is not None and not VaeSettings.from_opts(shared.opts).overrides:
        return VaeResolution(path, "found near the checkpoint")
    return VaeResolution(resolved=False)


def resolve_vae(checkpoint_file: str) -> VaeResolution:
    """Returns the VAE of a checkpoint, by the first rule that has one.

    The rules: --vae-path, a setting that overrides, the user's note, a file of the checkpoint's name, the setting.
    """
    if shared.cmd_opts.vae_path is not None:
        return VaeResolution(shared.cmd_opts.vae_path, "from commandline argument")
    if VaeSettings.from_opts(shared.opts).overrides:
        return resolve_vae_from_setting()
    rules = (resolve_vae_from_user_metadata, resolve_vae_near_checkpoint)
    resolutions = (rule(checkpoint_file) for rule in rules)
    return next((resolution for resolution in resolutions if resolution.resolved), None) or resolve_vae_from_setting()


def load_vae_dict(filename: str, map_location: str | None) -> weights.StateDict:
    """Returns the weights in a VAE file, without those of its training."""
    tensors = diffusers_names.original(weights.read_state_dict(filename, map_location or "cpu"))
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(("loss", "model_ema."))}


def load_vae(model: WebuiSdModel, vae_file: str | None = None, vae_source: str = "from unknown source") -> None:
    """Has a model use the VAE in a file; None gives it its own back.

    Raises ModelLoadError naming the file; the model keeps the VAE it has then.
    """
    if vae_file is None:
        restore_base_vae(model)
        return
    if not os.path.isfile(vae_file):
        raise ModelLoadError(f"the VAE {vae_file} ({vae_source}) is not there")
    logger.info("Loading VAE weights %s: %s", vae_source, vae_file)
    vae = model_load.load_vae(vae_file, model.family, Placement.from_flags(device_of_vae(model)))
    replaced = put_in(model, vae)
    model.loaded_vae = LoadedVae(vae_file, own=model.loaded_vae.own or replaced.to(devices.cpu))


def restore_base_vae(model: WebuiSdModel) -> None:
    """Gives a model the VAE of its checkpoint back, in the type it had."""
    own = model.loaded_vae.own
    if own is not None:
        put_in(model, own.to(device_of_vae(model)))
    model.loaded_vae = LoadedVae()


def clear_loaded_vae() -> None:
    """Forgets which file the current model's VAE came from: whichever is wanted next is put in anew."""
    shared.sd_model.loaded_vae = replace(shared.sd_model.loaded_vae, file="")


def put_in(model: WebuiSdModel, vae: AutoencoderKL) -> AutoencoderKL:
    """Has a model use a VAE; returns the one it used."""
    replaced = model.first_stage_model
    lowvram.replace_part(model, replaced, vae)
    model.first_stage_model = vae
    devices.torch_gc()
    return replaced


def device_of_vae(model: WebuiSdModel) -> torch.device:
    """Returns where the VAE of a model goes: main memory where it waits for its turn."""
    return devices.cpu if model.lowvram else model.loaded_as.devices.get(VAE, model.device)


def reload_vae_weights(sd_model: WebuiSdModel | None = None, vae_file: Any = unspecified) -> WebuiSdModel:
    """Has a model (by default the current one) use a VAE, by default the one the settings give it; returns the model.

    Raises ModelLoadError for a file that is none; the model then keeps the VAE it has.
    """
    model = sd_model or shared.sd_model
    if vae_file is unspecified:
        vae_file, source = resolve_vae(model.sd_checkpoint_info.filename).tuple()
    else:
        source = "from function argument"
    if model.loaded_vae.file != vae_file:
        load_vae(model, vae_file, source or "")
    return model


shared_items.register("sd_vae", lambda: list(vae_dict), refresh=refresh_vae_list)
