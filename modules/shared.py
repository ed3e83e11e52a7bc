"""state: the objects all parts of the program share, under the names extensions know. Complete once it is imported.

`opts`, `state` and `cmd_opts` are never rebound: whoever imported them has them for good. What other modules own is
registered: `sd_model` comes from the provider that sd_models sets, `device` is devices.device, choices come through
shared_items. Slots that are None here are filled by the modules that own their values.
"""

from __future__ import annotations

import argparse
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from modules import devices, memmon, shared_cmd_options, shared_items, util
from modules.options import OptionHTML, OptionInfo, Options, options_section  # noqa: F401  # names extensions import
from modules.paths_internal import (  # noqa: F401  # names extensions import from here
    data_path,
    default_sd_model_file,
    extensions_builtin_dir,
    extensions_dir,
    models_path,
    script_path,
    sd_configs_path,
    sd_default_config,
    sd_model_file,
)
from modules.settings.widgets import hide_dirs  # noqa: F401
from modules.shared_items import (  # noqa: F401  # names extensions import from here
    list_checkpoint_tiles,
    list_samplers,
    refresh_checkpoints,
    reload_hypernetworks,
)
from modules.shared_options import options_templates, restricted_opts
from modules.shared_state import State
from modules.shared_total_tqdm import TotalTQDM
from modules.styles import StyleDatabase
from modules.util import html, html_path, listfiles, natural_sort_key  # noqa: F401  # names extensions import

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

cmd_opts: argparse.Namespace = shared_cmd_options.cmd_opts
parser: argparse.ArgumentParser = shared_cmd_options.parser

config_filename: str = cmd_opts.ui_settings_file
opts: Options = Options(options_templates, restricted_opts)
opts.load(config_filename)

parallel_processing_allowed: bool = not cmd_opts.lowvram and not cmd_opts.medvram
"""Whether a preview may be decoded while another thread samples."""

batch_cond_uncond: bool = True
"""Not read by the program, which has a setting of this name; older extensions set it."""

state: State = State(opts, parallel_previews=lambda: parallel_processing_allowed)

styles_filename: list[str] = cmd_opts.styles_file
prompt_styles: StyleDatabase = StyleDatabase(styles_filename)

progress_print_out: TextIO = sys.stdout
total_tqdm: TotalTQDM = TotalTQDM(opts, state, cmd_opts, progress_print_out)
mem_mon: memmon.MemUsageMonitor = memmon.MemUsageMonitor("MemMon", devices.device, opts)

weight_load_location: str | None = None if cmd_opts.lowram else "cpu"
"""Where checkpoints are read to: the main memory, or (None) the device they will run on."""

hf_endpoint: str = os.getenv("HF_ENDPOINT", "https://huggingface.co")
xformers_available: bool = False

demo: Any = None
"""The page (gradio.Blocks) while there is one."""

settings_components: dict[str, Any] = {}
"""Key -> widget, of the settings shown on the page."""

gradio_theme: Any = None
tab_names: list[str] = []
sd_upscalers: list[Any] = []
face_restorers: list[Any] = []
hypernetworks: dict[str, str] = {}
loaded_hypernetworks: list[Any] = []
interrogator: Any = None
clip_model: Any = None

latent_upscale_default_mode: str = "Latent"
latent_upscale_modes: dict[str, dict[str, Any]] = {
    "Latent": {"mode": "bilinear", "antialias": False},
    "Latent (antialiased)": {"mode": "bilinear", "antialias": True},
    "Latent (bicubic)": {"mode": "bicubic", "antialias": False},
    "Latent (bicubic antialiased)": {"mode": "bicubic", "antialias": True},
    "Latent (nearest)": {"mode": "nearest", "antialias": False},
    "Latent (nearest-exact)": {"mode": "nearest-exact", "antialias": False},
}
"""Name of a hires upscaler that works on latents -> arguments of torch.nn.functional.interpolate."""


@dataclass
class ModelAccess:
    """How `sd_model` is read and replaced."""

    get: Callable[[], Module | None]
    set: Callable[[Module | None], object]


def _no_model_yet(model: Module | None) -> None:
    raise RuntimeError("shared.sd_model cannot be set before modules.sd_models is imported")


model_access = ModelAccess(get=lambda: None, set=_no_model_yet)


def set_model_provider(get: Callable[[], Module | None], set: Callable[[Module | None], object]) -> None:
    """Says where the current model is kept: get may load it, set replaces it."""
    model_access.get = get
    model_access.set = set


def walk_files(path: str, allowed_extensions: Iterable[str] | None = None) -> Iterator[str]:
    """Yields the files under a path as `util.walk_files` does, in hidden folders only if the setting says so."""
    yield from util.walk_files(path, allowed_extensions, include_hidden=opts.list_hidden_files)


class Shared(types.ModuleType):
    """This module, with two attributes that are looked up where they are kept."""

    @property
    def sd_model(self) -> Module | None:
        """The current model, loaded when it is asked for; None if there is none."""
        return model_access.get()

    @sd_model.setter
    def sd_model(self, value: Module | None) -> None:
        """Makes a model the current one."""
        model_access.set(value)

    @property
    def device(self) -> torch.device:
        """The device that networks run on."""
        return devices.device

    @device.setter
    def device(self, value: torch.device) -> None:
        """Sets the device, for `devices` too."""
        devices.device = value


sys.modules[__name__].__class__ = Shared

if TYPE_CHECKING:
    sd_model: Module
    device: torch.device

shared_items.register("setting_keys", lambda: opts.data_labels)
shared_items.register("checkpoint_choices", lambda: list_checkpoint_tiles(opts.sd_checkpoint_dropdown_use_short))
shared_items.register("upscalers", lambda: [upscaler.name for upscaler in sd_upscalers])
shared_items.register("face_restorers", lambda: [restorer.name() for restorer in face_restorers])
shared_items.register("tab_names", lambda: tab_names)
