"""engine: files of modules beside a checkpoint, VAEs and text encoders: which there are, and which a checkpoint gets.

What is in such a file, and which module of a model it is for, its weights say when it is loaded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass

from modules import checkpoints, option_values, paths, sd_vae, shared, shared_items, util, weights
from modules.errors import NotFound
from modules.model_load import MODULES_SETTING
from modules.options import OptionValues

logger = logging.getLogger(__name__)

text_encoder_path: str = os.path.abspath(os.path.join(paths.models_path, "text_encoder"))

module_dict: dict[str, str] = {}
"""Name of a file, as the setting forge_additional_modules holds it -> its path."""


@dataclass(frozen=True)
class ModuleSettings(OptionValues):
    """Which modules the user chose. The names are those of the options."""

    forge_additional_modules: tuple[str, ...]


@dataclass(frozen=True)
class ModuleFiles:
    """The files of modules of one checkpoint.

    chosen: by the user, in place of the checkpoint's own modules. beside: for those the checkpoint lacks.
    """

    chosen: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def refresh() -> None:
    """Finds the files anew: all in the folders of VAEs and of text encoders, and those named like checkpoints."""
    found: dict[str, str] = {}
    folders = (sd_vae.vae_path, shared.cmd_opts.vae_dir, text_encoder_path, shared.cmd_opts.text_encoder_dir)
    for folder in filter(None, dict.fromkeys(folders)):
        for path in shared.walk_files(folder, weights.EXTENSIONS):
            add(found, path, folder)
    for folder in filter(None, dict.fromkeys((checkpoints.model_path, shared.cmd_opts.ckpt_dir))):
        for path in shared.walk_files(folder, weights.EXTENSIONS):
            if checkpoints.is_module(path):
                add(found, path, folder)
    module_dict.clear()
    module_dict.update(sorted(found.items(), key=lambda item: util.natural_sort_key(item[0])))


def add(found: dict[str, str], path: str, folder: str) -> None:
    """Enters a file under its name, or under its path below the folder where another one has that."""
    name = os.path.basename(path)
    if name in found and not os.path.samefile(found[name], path):
        name = os.path.relpath(path, folder).replace(os.sep, "/")
    if name == util.sendable(name):
        found.setdefault(name, path)


def find(name: str) -> str | None:
    """Returns the listed name of a module, from that name, with its ending or without, or from its path."""
    for listed, path in list(module_dict.items()):
        if name in (listed, path, stem(listed), os.path.realpath(path)):
            return listed
    return None


def stem(name: str) -> str:
    """Returns a file's name without its folders and its ending, as infotexts name it."""
    return os.path.splitext(os.path.basename(name))[0]


def names_of(values: Iterable[str]) -> list[str]:
    """Returns the listed names of the modules that a request or an infotext names.

    "Automatic", "None" and "Built in" name none. Raises NotFound, which names the nearest, for one that is not there.
    """
    names = []
    for value in values:
        if value in ("", "Automatic", "None", "Built in"):
            continue
        name = find(value)
        if name is None:
            raise NotFound(
                f"there is no VAE or text encoder {value!r}; /sdapi/v1/sd-modules lists all"
                f"{option_values.nearest(value, module_dict)}",
                field=MODULES_SETTING,
            )
        names.append(name)
    return list(dict.fromkeys(names))


def chosen() -> tuple[str, ...]:
    """Returns the files that the setting names; one that is gone is left out and logged."""
    files = []
    for value in ModuleSettings.from_opts(shared.opts).forge_additional_modules:
        name = find(value)
        if name is None:
            logger.warning("there is no VAE or text encoder named %s (%s): it is left out", value, MODULES_SETTING)
        else:
            files.append(module_dict[name])
    return tuple(files)


def beside(checkpoint_file: str) -> tuple[str, ...]:
    """Returns the listed files that are named after a checkpoint: "model.vae.safetensors" for "model.safetensors".

    In the folders of modules the bare name does.
    """
    name = stem(checkpoint_file)
    others = [path for path in list(module_dict.values()) if path != checkpoint_file]
    return tuple(path for path in others if name == (stem(stem(path)) if checkpoints.is_module(path) else stem(path)))


def files_of(checkpoint_file: str) -> ModuleFiles:
    """Returns the files of modules that a checkpoint is loaded with.

    The VAE that the setting sd_vae or another of its rules gives it is there for a checkpoint without one.
    """
    vae = sd_vae.resolve_vae(checkpoint_file).vae
    found = [*beside(checkpoint_file), *([vae] if vae is not None and os.path.isfile(vae) else [])]
    return ModuleFiles(chosen(), tuple(dict.fromkeys(found)))


shared_items.register("sd_modules", lambda: list(module_dict), refresh=refresh)
