"""root: the steps of the start between the first answer of the server and the page, in order and timed."""

from __future__ import annotations

import linecache
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from modules import errors, initialize_util, start_imports
from modules.shared_cmd_options import cmd_opts
from modules.timer import Timer, startup_timer

logger = logging.getLogger(__name__)


def step(name: str, function: Callable[..., Any], *args: Any) -> None:
    """Does one step of the start; an error ends the start."""
    function(*args)
    startup_timer.record(name)


def optional_step(name: str, function: Callable[..., Any], *args: Any) -> None:
    """Does one step whose failure takes one feature away, and is reported."""
    errors.run(lambda: function(*args), name)
    startup_timer.record(name)


def imports() -> None:
    """Imports what takes long, so that the profile of the start shows it."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

    with start_imports.imported_when_used(start_imports.UNUSED_BY_TORCH):
        import torch  # noqa: F401

    startup_timer.record("import torch")

    with (
        start_imports.imported_when_used(start_imports.UNUSED_BY_GRADIO),
        start_imports.changed(start_imports.CHANGES_OF_GRADIO),
    ):
        import gradio  # noqa: F401

    startup_timer.record("import gradio")

    from modules import processing, shared  # noqa: F401

    linecache.clearcache()  # the source of torch, 2 MB, which it has looked at
    startup_timer.record("import modules")


def check_versions() -> None:
    """Warns of a torch or gradio that is not the one of the requirements, unless --skip-version-check is given."""
    if cmd_opts.skip_version_check:
        return

    from modules import launch_utils, paths_internal

    pins = launch_utils.read_requirements(os.path.join(paths_internal.script_path, "requirements_versions.txt"))
    errors.check_versions({name: version for name, version in pins.items() if name in ("torch", "gradio") and version})


def note_whose_code_runs() -> None:
    """Has a start that dies leave behind which extension it died of, see `modules.safe_mode`."""
    from modules import safe_mode
    from modules.hook_records import records

    records.on_call = safe_mode.marker.note


def initialize() -> None:
    """Brings the program to where it can serve: registries filled, scripts loaded, the model on its way."""
    from modules import codeformer_model, cpu_layers, gfpgan_model, sd_models, shared_init

    cpu_layers.install()
    step("check versions", check_versions)
    step("list checkpoints", sd_models.setup_model)
    step("read settings", shared_init.initialize)
    optional_step("remove unfinished files", initialize_util.remove_unfinished_files)
    optional_step("defaults of the page", initialize_util.make_ui_config)
    optional_step("setup codeformer", codeformer_model.setup_model, cmd_opts.codeformer_models_path)
    optional_step("setup gfpgan", gfpgan_model.setup_model, cmd_opts.gfpgan_models_path)
    initialize_rest()


def initialize_rest(*, reload_script_modules: bool = False) -> None:
    """Does the steps that are done again when the page is reloaded.

    reload_script_modules: it is a reload; the model stays as it is.
    """
    from modules import (
        dropped_names,
        extensions,
        extra_networks,
        extra_networks_hypernet,  # noqa: F401  # adds itself to the default networks
        infotext_utils,  # noqa: F401  # gives `images` the drop handler that extensions find there
        localization,
        modelloader,
        pydantic_1,  # noqa: F401  # gives models what extensions know of them
        script_ui,  # noqa: F401  # makes Gradio take what extensions give it, before they derive from its classes
        scripts,
        scripts_auto_postprocessing,  # noqa: F401  # adds itself to the sources of scripts
        sd_hijack,
        sd_modules,
        sd_samplers,
        sd_unet,
        sd_vae,
        shared,
        torchvision_ops,
        ui_extra_networks_registry,
    )
    from modules.textual_inversion import textual_inversion

    step("set samplers", sd_samplers.set_samplers)
    step("list extensions", extensions.list_extensions)
    optional_step("restore config state", initialize_util.restore_config_state_file)
    optional_step("list localizations", localization.list_localizations, cmd_opts.localizations_dir)
    if any(not extension.is_builtin for extension in extensions.active()):
        optional_step("check torchvision", torchvision_ops.declare_missing)
        optional_step("names of older packages", dropped_names.install)
    with startup_timer.subcategory("load scripts"):
        scripts.load_scripts()
    optional_step("load upscalers", modelloader.load_upscalers)
    optional_step("refresh VAE", sd_vae.refresh_vae_list)
    optional_step("refresh modules", sd_modules.refresh)
    optional_step("refresh textual inversion templates", textual_inversion.list_textual_inversion_templates)
    step("list optimizers", sd_hijack.list_optimizers)
    step("list unets", sd_unet.list_unets)
    optional_step("reload hypernetworks", shared.reload_hypernetworks)

    ui_extra_networks_registry.initialize()
    ui_extra_networks_registry.register_default_pages()
    extra_networks.initialize()
    extra_networks.register_default_extra_networks()
    startup_timer.record("initialize extra networks")


def loads_model() -> bool:
    """Says whether the flags have a model loaded before the first request."""
    return not (cmd_opts.ui_debug_mode or cmd_opts.skip_load_model_at_start)


def start_loading_model() -> threading.Thread | None:
    """Has the chosen checkpoint loaded by a thread, which is returned, unless the flags say otherwise.

    Not before the page is there: most of the work is Python's, which goes no faster beside other work of Python's.
    """
    if not loads_model():
        return None
    thread = threading.Thread(target=load_model, name="load model", daemon=True)
    thread.start()
    return thread


def load_model() -> None:
    """Loads the chosen checkpoint ahead of the first request."""
    from modules import devices, sd_models, shared

    timer = Timer()
    # A request that comes meanwhile waits for it too: diffusers cannot be imported by two threads at once.
    with sd_models.model_data.lock:
        errors.run(sd_models.import_networks, "importing the packages of networks")
    timer.record("import diffusers and transformers")
    errors.run(lambda: shared.sd_model, "loading the model")
    timer.record("load checkpoint")
    devices.first_time_calculation()
    for name, seconds in timer.records.items():
        startup_timer.add_time_to_record(f"model, after the page/{name}", seconds)
    startup_timer.add_time_to_record("model, after the page", timer.total)
    initialize_util.prepare_model()
