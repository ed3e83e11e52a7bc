"""engine: which model is current: loading it, switching it, keeping others loaded. Files are found by `checkpoints` and
read by `model_load`; their v1.10.1 names are here.

`model_data` holds the loaded models; `shared.sd_model` is its current one and is loaded when it is first asked for.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from modules import (
    checkpoints,
    devices,
    launch_process,
    lowvram,
    model_families,
    model_load,
    model_patches,
    script_callbacks,
    sd_hijack,
    sd_models_config,
    sd_modules,
    sd_unet,
    sd_vae,
    shared,
    shared_items,
    start_imports,
    torchvision_ops,
    weights,
)
from modules.checkpoints import CheckpointInfo, checkpoint_aliases, checkpoints_list
from modules.errors import ModelLoadError
from modules.options import OptionValues
from modules.placement import Placement
from modules.sampling.conditioning import Cond
from modules.sd_models_types import LoadedVae, WebuiSdModel
from modules.timer import Timer

logger = logging.getLogger(__name__)

checkpoints_loaded: collections.OrderedDict[CheckpointInfo, weights.StateDict] = collections.OrderedDict()
"""Empty, for extensions that clear it: files are mapped into memory, which keeps what fits."""

AUTOMATIC = "sd_model_checkpoint_automatic"
"""Key among the stored settings, not one of them: sd_model_checkpoint was filled in because there was no other."""


@dataclass(frozen=True)
class CheckpointSettings(OptionValues):
    """Which checkpoint is wanted, and how loaded ones are kept. The names are those of the options."""

    cache_fp16_weight: bool
    fp8_storage: str
    sd3_enable_t5: bool
    sd_checkpoints_keep_in_cpu: bool
    sd_checkpoints_limit: int
    sd_model_checkpoint: str | None


@dataclass(frozen=True)
class NoiseScheduleSettings(OptionValues):
    """How the noise schedule of a model is changed for a job. The names are those of the options."""

    sd_noise_schedule: str
    use_downcasted_alpha_bar: bool


class SkipWritingToConfig:
    """While entered, loading a checkpoint does not change the setting sd_model_checkpoint."""

    skip = False

    def __enter__(self) -> None:
        self.previous = SkipWritingToConfig.skip
        SkipWritingToConfig.skip = True

    def __exit__(self, exc_type: Any, exc_value: Any, exc_traceback: Any) -> None:
        SkipWritingToConfig.skip = self.previous


class SdModelData:
    """The loaded models.

    sd_model: the current one. loaded_sd_models: all, the one used last first. lock: held while that changes. finishing:
    a model its loader is about to make current; only that thread sees it.
    """

    def __init__(self) -> None:
        self.sd_model: WebuiSdModel | None = None
        self.loaded_sd_models: list[WebuiSdModel] = []
        self.lock = threading.RLock()
        self.finishing: WebuiSdModel | None = None

    def get_sd_model(self) -> WebuiSdModel:
        """Returns the current model; the first caller loads it, others wait. Raises ModelLoadError if that fails."""
        if self.sd_model is not None:
            return self.sd_model
        with self.lock:
            return self.finishing or self.sd_model or load_model()

    def set_sd_model(self, v: WebuiSdModel | None, already_loaded: bool = False) -> None:
        """Makes a model current; None leaves none. already_loaded is not needed, extensions give it."""
        self.sd_model = v
        if v is not None:
            self.loaded_sd_models[:] = [v, *(model for model in self.loaded_sd_models if model is not v)]
        model_patches.move_wishes(v)
        for model in self.loaded_sd_models:
            if model is not v:
                model.patches.use()  # what waits in main memory need not be there twice

    @contextlib.contextmanager
    def shown_to_loader(self, model: WebuiSdModel) -> Iterator[None]:
        """Makes a model, for the block, what `shared.sd_model` is for the thread that loads it."""
        current, self.sd_model, self.finishing = self.sd_model, None, model
        try:
            yield
        finally:
            self.sd_model, self.finishing = current, None


model_data = SdModelData()
shared.set_model_provider(model_data.get_sd_model, model_data.set_sd_model)


def setup_model() -> None:
    """Makes the checkpoint folder, and fills the list of checkpoints.

    The embedded checkpoint gives way to the user's first one if it was not the user who chose it.
    """
    os.makedirs(checkpoints.model_path, exist_ok=True)
    list_models()
    stored = shared.opts.data
    if stored.get(AUTOMATIC) and not checkpoints.first().is_embedded:
        stored["sd_model_checkpoint"] = None
        del stored[AUTOMATIC]


def list_models() -> None:
    """Finds the checkpoint files anew."""
    checkpoints.scan()


def select_checkpoint() -> CheckpointInfo:
    """Returns the configured checkpoint; if it is not there, the user's first, else the embedded one."""
    configured = CheckpointSettings.from_opts(shared.opts).sd_model_checkpoint
    if is_chosen():
        return checkpoint_aliases[configured]
    if not checkpoints_list:
        list_models()
    fallback = checkpoints.first()
    if configured is not None:
        logger.warning("Checkpoint %s not found; loading fallback %s", configured, fallback.title)
    return fallback


def is_chosen() -> bool:
    """Says whether the checkpoint to load is one that somebody named, and not the default."""
    return CheckpointSettings.from_opts(shared.opts).sd_model_checkpoint in checkpoint_aliases


def with_checkpoint(load: Callable[[CheckpointInfo], WebuiSdModel]) -> WebuiSdModel:
    """Calls load with the configured checkpoint, or with the default ones in their order until one can be loaded."""
    while True:
        info = select_checkpoint()
        try:
            return load(info)
        except ModelLoadError as e:
            if is_chosen() or info.is_embedded:
                raise
            logger.error("Checkpoint %s cannot be loaded, and is skipped as the default: %s", info.title, e.message)
            checkpoints.unloadable.add(info.filename)


def read_state_dict(
    checkpoint_file: str, print_global_state: bool = False, map_location: str | None = None
) -> weights.StateDict:
    """Returns the weights in a file, on map_location, by default where checkpoints are read to.

    Raises ModelLoadError for a file that is none. print_global_state: log the step a training had reached.
    """
    device = map_location or shared.weight_load_location or str(devices.device)
    tensors = weights.read_state_dict(checkpoint_file, device)
    if print_global_state and "global_step" in tensors:
        logger.info("Global Step: %s", tensors["global_step"])
    return tensors


def get_checkpoint_state_dict(checkpoint_info: CheckpointInfo, timer: Timer) -> weights.StateDict:
    """Returns the weights of a checkpoint. Raises ModelLoadError for a file that is none."""
    tensors = checkpoints_loaded.get(checkpoint_info)
    if tensors is None:
        tensors = read_state_dict(checkpoint_info.filename)
        timer.record("load weights from disk")
    return tensors


def check_fp8(model: Any) -> bool:
    """Returns whether the setting fp8_storage wants the weights of such a model in 8 bits. MPS cannot have them so."""
    setting = CheckpointSettings.from_opts(shared.opts).fp8_storage
    wanted = setting == "Enable" or (setting == "Enable for SDXL" and model.is_sdxl)
    return wanted and devices.device.type != "mps"


def left_out(families: Iterable[model_families.Family] = model_families.FAMILIES) -> frozenset[str]:
    """Returns the names of the text encoders that the settings leave out of models of these families."""
    settings = CheckpointSettings.from_opts(shared.opts)
    encoders = [encoder for family in families for encoder in family.text_encoders if encoder.enabled_by is not None]
    return frozenset(encoder.name for encoder in encoders if not getattr(settings, encoder.enabled_by))


def load_model(
    checkpoint_info: CheckpointInfo | None = None, already_loaded_state_dict: weights.StateDict | None = None
) -> WebuiSdModel:
    """Loads a checkpoint, by default the configured one, makes it current and returns it.

    The current model is given up only for a file that was read and checked; if the rest fails after all, it is loaded
    again. Raises ModelLoadError naming the file and what was found in it.
    """
    if checkpoint_info is None:
        return with_checkpoint(lambda info: load_model(info, already_loaded_state_dict))
    info = checkpoint_info
    launch_process.keep_freed_memory()
    with model_data.lock:
        import_networks()
        timer = Timer()
        config = sd_models_config.find_checkpoint_config_near_filename(info)
        modules = sd_modules.files_of(info.filename)
        prepared = model_load.prepare(
            info.filename, info.metadata, config, already_loaded_state_dict, modules.chosen, modules.beside, left_out()
        )
        timer.record("read file")
        info.calculate_shorthash()
        timer.record("calculate hash")

        previous = model_data.sd_model.sd_checkpoint_info if model_data.sd_model else None
        make_room()
        try:
            model = load_prepared(prepared, info, timer, modules.chosen)
        except Exception as e:  # memory or an extension: whatever it is, the model that worked comes back
            del prepared
            traceback.clear_frames(e.__traceback__)  # they hold what was loaded of the new model
            model_data.sd_model = None
            if previous is not None and previous.filename != info.filename:
                logger.error("loading %s failed, going back to %s", info.title, previous.title)
                reload_model_weights(info=previous)
            raise
        write_selection(info)
        del prepared
        gc.collect()  # a model and what belongs to it refer to each other
        devices.main_memory.give_back()
        logger.info("Model %s loaded in %s", info.title, timer.summary())
        return model


@functools.cache
def import_networks() -> None:
    """Imports the classes that nearly all models are made of: most of the time that the first model takes."""
    torchvision_ops.declare_missing()
    with (
        start_imports.collections.paused(),
        start_imports.imported_when_used(start_imports.UNUSED_BY_NETWORKS),
        start_imports.changed(start_imports.CHANGES_OF_NETWORKS),
    ):
        import diffusers
        import transformers

        diffusers.UNet2DConditionModel, diffusers.AutoencoderKL, transformers.CLIPTextModel  # noqa: B018
    # Modules stay: loading looks for garbage, and to look through them as well took a fourth of a second each time.
    gc.freeze()


def load_prepared(
    prepared: model_load.PreparedModel, info: CheckpointInfo, timer: Timer, modules: tuple[str, ...] = ()
) -> WebuiSdModel:
    """Puts the weights of a checked file in place and everything that belongs to a model around them.

    modules: files that were chosen for it, see `sd_modules`.
    """
    fp8 = check_fp8(prepared)
    devices.fp8 = fp8
    keeps_fp16 = fp8 and CheckpointSettings.from_opts(shared.opts).cache_fp16_weight
    placement = Placement.from_flags(devices.device, fp8, keeps_fp16)
    choice = lowvram.choose(prepared, placement)
    logger.info("Memory for %s: %s", info.title, choice)
    if choice.offload:
        placement = replace(placement, device=devices.cpu)
    model = model_load.build(prepared, placement)
    model.offload = choice
    timer.record("load weights")

    model.sd_checkpoint_info = info
    model.sd_model_checkpoint = model.filename = info.filename
    model.sd_model_hash = info.shorthash
    model.used_config = prepared.config
    model.modules_chosen = modules
    model.modules_used = tuple(path for path in modules if path in prepared.files)
    if prepared.vae.filename not in (info.filename, *modules):
        model.loaded_vae = LoadedVae(prepared.vae.filename)
    model.left_out = left_out([model.family])
    apply_alpha_schedule_override(model)
    with model_data.shown_to_loader(model):
        lowvram.apply(model)
        sd_vae.reload_vae_weights(model)
        timer.record("load VAE")
        sd_hijack.model_hijack.hijack(model)
        sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)
        timer.record("load textual inversion embeddings")
        script_callbacks.model_loaded_callback(model)
        timer.record("scripts callbacks")
        model.cond_stage_model_empty_prompt = get_empty_cond(model)
        timer.record("calculate empty prompt")
    model_data.set_sd_model(model)
    return model


def load_model_weights(
    model: WebuiSdModel, checkpoint_info: CheckpointInfo, state_dict: weights.StateDict | None, timer: Timer
) -> None:
    """Loads a checkpoint, from weights that are there already if they are given, and makes it current.

    It is a model of its own: the one that callers of v1.10.1 name makes room for it.
    """
    load_model(checkpoint_info, state_dict)
    timer.record("load weights")


def make_room() -> None:
    """Frees what the next model needs.

    Together with it sd_checkpoints_limit models may be loaded: those used longest ago go. The others wait in main
    memory, unless sd_checkpoints_keep_in_cpu is off.
    """
    use_own_unet()
    kept = max(CheckpointSettings.from_opts(shared.opts).sd_checkpoints_limit, 1) - 1
    for model in model_data.loaded_sd_models[kept:]:
        logger.info("Unloading model %s", model.sd_checkpoint_info.title)
        send_model_to_trash(model)
    del model_data.loaded_sd_models[kept:]
    if model_data.sd_model not in model_data.loaded_sd_models:
        model_data.sd_model = None
    send_idle_to_cpu()


def send_idle_to_cpu(but: WebuiSdModel | None = None) -> None:
    """Moves the loaded models, but one, to main memory, if the settings say so."""
    if CheckpointSettings.from_opts(shared.opts).sd_checkpoints_keep_in_cpu:
        for model in model_data.loaded_sd_models:
            if model is not but:
                send_model_to_cpu(model)
    devices.torch_gc()


def use_own_unet() -> None:
    """Takes an extension's U-Net out of use before the model it was made for changes."""
    if sd_unet.selection.unet is not None:
        sd_unet.apply_unet("None")


def reload_model_weights(
    sd_model: WebuiSdModel | None = None, info: CheckpointInfo | None = None, forced_reload: bool = False
) -> WebuiSdModel:
    """Makes a checkpoint, by default the configured one, current and returns its model; does nothing if it is.

    forced_reload: load it anew even then. Raises ModelLoadError; the current model stays then.
    """
    if info is None:
        return with_checkpoint(lambda info: reload_model_weights(sd_model, info, forced_reload))
    with model_data.lock:
        current = sd_model or model_data.sd_model
        if not forced_reload and current is not None and is_loaded_as_wanted(current, info):
            send_model_to_device(current)
            current.sd_checkpoint_info = info
            return current
        if forced_reload:
            forget(info)
            return load_model(info)
        return reuse_model_from_already_loaded(current, info, Timer()) or load_model(info)


def reuse_model_from_already_loaded(
    sd_model: WebuiSdModel | None, checkpoint_info: CheckpointInfo, timer: Timer
) -> WebuiSdModel | None:
    """Makes the loaded model of a checkpoint current and returns it; None where it has to be loaded.

    Extensions put a function of their own here; sd_model, the current one, and timer are for them.
    """
    for model in model_data.loaded_sd_models:
        if is_loaded_as_wanted(model, checkpoint_info):
            return switch_to(model, checkpoint_info)
    return None


def reload_with_modules() -> None:
    """Loads the current checkpoint with the modules that the settings name now.

    If they do not fit it, they may be for the one that is chosen next: the model stays as it is, and a job that runs
    before that says what is wrong.
    """
    try:
        reload_model_weights()
    except ModelLoadError as e:
        logger.warning("VAE and text encoders are chosen that the checkpoint cannot be loaded with: %s", e.message)


def is_loaded_as_wanted(model: WebuiSdModel, info: CheckpointInfo) -> bool:
    """Returns whether a loaded model is that checkpoint, with the modules that the settings give it, stored and
    with the text encoders as the settings say.
    """
    return (
        model.sd_model_checkpoint == info.filename
        and model.fp8 == check_fp8(model)
        and model.modules_chosen == sd_modules.chosen()
        and model.left_out == left_out([model.family])
    )


def switch_to(model: WebuiSdModel, info: CheckpointInfo) -> WebuiSdModel:
    """Makes one of the loaded models current."""
    logger.info("Using already loaded model %s", info.title)
    use_own_unet()
    send_idle_to_cpu(but=model)
    send_model_to_device(model)
    devices.fp8 = model.fp8
    apply_alpha_schedule_override(model)
    sd_vae.reload_vae_weights(model)
    sd_hijack.model_hijack.hijack(model)
    model_data.set_sd_model(model)
    sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings()  # it may take others
    if not SkipWritingToConfig.skip:
        write_selection(info)
    return model


def forget(info: CheckpointInfo) -> None:
    """Takes a checkpoint out of the models kept beside the current one, so that it can be loaded anew."""
    for model in list(model_data.loaded_sd_models):
        if model is not model_data.sd_model and model.sd_model_checkpoint == info.filename:
            model_data.loaded_sd_models.remove(model)
            send_model_to_trash(model)


def write_selection(info: CheckpointInfo) -> None:
    """Notes the current checkpoint in the settings. A job with a checkpoint of its own leaves the user's alone."""
    if "sd_model_checkpoint" in shared.opts.job_overlay.get():
        return
    stored = shared.opts.data
    if not SkipWritingToConfig.skip:
        if not info.is_embedded:
            stored.pop(AUTOMATIC, None)
        elif stored.get("sd_model_checkpoint") not in info.ids:
            stored[AUTOMATIC] = True
        stored["sd_model_checkpoint"] = info.title
    stored["sd_checkpoint_hash"] = info.sha256


def unload_model_weights(sd_model: WebuiSdModel | None = None, info: CheckpointInfo | None = None) -> None:
    """Moves a model, by default the current one, to main memory; the next job moves it back."""
    model = sd_model or model_data.sd_model
    if model is not None:
        send_model_to_cpu(model)
        devices.torch_gc()


def send_model_to_cpu(m: WebuiSdModel) -> None:
    """Moves a model to main memory."""
    m.model.runner.forget()
    if m.lowvram:
        lowvram.send_everything_to_cpu()
    else:
        m.to(devices.cpu)


def send_model_to_device(m: WebuiSdModel) -> None:
    """Moves a model to the device; one whose parts take turns there moves by itself."""
    lowvram.apply(m)
    if not m.lowvram and m.device.type != devices.device.type:
        m.bring(devices.device)
        devices.main_memory.give_back()


def send_model_to_trash(m: WebuiSdModel) -> None:
    """Frees the memory of a model, even where something still refers to it."""
    lowvram.forget(m)
    m.patches.weights.forget_exact()
    m.to("meta")
    devices.torch_gc()
    devices.main_memory.give_back()


def apply_token_merging(sd_model: WebuiSdModel, token_merging_ratio: float) -> None:
    """Has the model merge a share (0..1) of the tokens from now to the end of the job, or until it is called again."""
    model_patches.wishes().put("token merging", lambda model: model_patches.token_merging(model, token_merging_ratio))


@torch.no_grad()
def get_empty_cond(sd_model: WebuiSdModel) -> Cond:
    """Returns the empty text encoded, one row of 77 tokens."""
    with devices.autocast():
        return sd_model.get_learned_conditioning([""])


def apply_alpha_schedule_override(sd_model: WebuiSdModel, p: Any = None) -> None:
    """Sets the model's noise schedule as the settings use_downcasted_alpha_bar and sd_noise_schedule say.

    It starts from the one the model was trained on; the infotext of p, the processing object, notes it. Models of
    rectified flow have no such schedule.
    """
    if isinstance(sd_model.schedule, model_families.FlowSchedule):
        return
    settings = NoiseScheduleSettings.from_opts(shared.opts)
    params = {} if p is None else p.extra_generation_params
    alphas_cumprod = sd_model.alphas_cumprod_original.to(shared.device)
    if settings.use_downcasted_alpha_bar:
        params["Downcast alphas_cumprod"] = settings.use_downcasted_alpha_bar
        alphas_cumprod = alphas_cumprod.half()
    if settings.sd_noise_schedule == "Zero Terminal SNR":
        params["Noise Schedule"] = settings.sd_noise_schedule
        alphas_cumprod = model_families.zero_terminal(alphas_cumprod)
    sd_model.alphas_cumprod = alphas_cumprod


shared_items.register("checkpoints", checkpoints.checkpoint_tiles, refresh=lambda: list_models())

from modules.checkpoints import (  # noqa: E402, F401  # A1111 names
    checkpoint_tiles,
    model_dir,
    model_hash,
    model_path,
    replace_key,
)
from modules.checkpoints import find as get_closet_checkpoint_match  # noqa: E402, F401
from modules.model_families import zero_terminal as rescale_zero_terminal_snr_abar  # noqa: E402, F401
from modules.weights import get_state_dict_from_checkpoint, read_metadata_from_safetensors  # noqa: E402, F401

checkpoint_alisases = checkpoint_aliases
