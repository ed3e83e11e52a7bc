"""engine: checkpoint files on disk: finds them, names them, hashes them, looks them up. Loads none.

`checkpoints_list` (by title) and `checkpoint_aliases` (by every name a checkpoint answers to) are the registry.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any

from modules import cache, diffusers_folders, errors, hashes, option_values, paths, shared, weights
from modules.paths_internal import embedded_dir

logger = logging.getLogger(__name__)

model_dir = "Stable-diffusion"
model_path: str = os.path.abspath(os.path.join(paths.models_path, model_dir))
embedded_checkpoint: str = os.path.join(embedded_dir, "demo-emoji.safetensors")

CHECKPOINT_EXTENSIONS = (".ckpt", ".safetensors", ".gguf")
MODULE_NAMES = frozenset(
    {"vae", "clip_l", "clip_g", "clip_h", "t5xxl", "text_encoder", "text_encoder_2", "text_encoder_3"}
)
"""What stands before the ending in the names of files that belong to a checkpoint: model.vae.safetensors."""

SHORT_HASH_LENGTH = 10

re_strip_checksum = re.compile(r"\s*\[[^]]+]\s*$")


class CheckpointInfo:
    """A checkpoint, a file or a folder of diffusers, and its names.

    name: path below the checkpoint folder. title: name and, once it is known, short hash, as the setting
    sd_model_checkpoint holds it. weights_file: what is hashed, of a folder the denoiser. hash: the 8 digits older
    versions used; sha256, shorthash: None until computed. ids: all the names the file answers to. metadata: what a
    safetensors file says of itself.
    """

    def __init__(self, filename: str):
        self.filename = filename
        self.is_folder = diffusers_folders.is_one(filename)
        self.is_safetensors = weights.is_safetensors(filename)
        self.name = name_of(filename)
        self.name_for_extra = self._without_ending(os.path.basename(filename))
        self.model_name = self._without_ending(self.name.replace("/", "_").replace("\\", "_"))
        self.metadata = self._read_metadata()
        self.modelspec_thumbnail = self.metadata.pop("modelspec.thumbnail", None)
        self.weights_file = diffusers_folders.denoiser(filename)[0] if self.is_folder else filename
        self.hash = model_hash(self.weights_file)
        self.sha256: str | None = None
        self.shorthash: str | None = None
        self._set_hash(hashes.sha256_from_cache(self.weights_file, self.cache_title))

    @property
    def is_embedded(self) -> bool:
        """Whether it is the checkpoint that comes with the program."""
        return self.filename == embedded_checkpoint

    @property
    def cache_title(self) -> str:
        """Under which the cache keeps what is known of the file."""
        return f"checkpoint/{self.name}"

    def _without_ending(self, name: str) -> str:
        return name if self.is_folder else os.path.splitext(name)[0]

    def _read_metadata(self) -> dict[str, Any]:
        if self.is_folder:
            return diffusers_folders.metadata(self.filename)
        if not self.is_safetensors:
            return {}
        try:
            return dict(
                cache.cached_data_for_file(
                    "safetensors-metadata",
                    self.cache_title,
                    self.filename,
                    lambda: weights.read_metadata_from_safetensors(self.filename),
                )
            )
        except (OSError, errors.ModelLoadError) as e:
            logger.warning("cannot read the metadata of %s: %s", self.filename, e)
            return {}

    def _set_hash(self, sha256: str | None) -> None:
        self.sha256 = sha256
        self.shorthash = sha256[:SHORT_HASH_LENGTH] if sha256 else None
        ending = f" [{self.shorthash}]" if self.shorthash else ""
        self.title = f"{self.name}{ending}"
        self.short_title = f"{self.name_for_extra}{ending}"
        self.ids = [
            self.hash,
            self.model_name,
            self.title,
            self.name,
            self.name_for_extra,
            f"{self.name} [{self.hash}]",
        ]
        if sha256 and self.shorthash:
            self.ids += [self.shorthash, sha256, self.title, self.short_title]

    def register(self) -> None:
        """Enters the checkpoint into the registry."""
        checkpoints_list[self.title] = self
        for name in self.ids:
            checkpoint_aliases[name] = self

    def calculate_shorthash(self) -> str | None:
        """Returns the first ten digits of the file's sha256, computed if need be; the title gets them too.

        None under --no-hashing.
        """
        self.note_sha256(hashes.sha256(self.weights_file, self.cache_title))
        return self.shorthash

    def note_sha256(self, sha256: str | None) -> None:
        """Takes over the sha256 of the file, which is part of its names from now on."""
        if sha256 is not None and sha256 != self.sha256:
            old_title = self.title
            self._set_hash(sha256)
            replace_key(checkpoints_list, old_title, self.title, self)
            self.register()

    def __str__(self) -> str:
        return self.title


checkpoints_list: dict[str, CheckpointInfo] = {}
checkpoint_aliases: dict[str, CheckpointInfo] = {}
unloadable: set[str] = set()
"""Files that could not be loaded when they were to be the default, until the list is made anew."""


def name_of(filename: str) -> str:
    """Returns a file's path below --ckpt-dir or the checkpoint folder, or its bare name elsewhere."""
    absolute = os.path.abspath(filename)
    for folder in (shared.cmd_opts.ckpt_dir, model_path):
        if folder and is_inside(absolute, folder):
            return os.path.relpath(absolute, os.path.abspath(folder))
    return os.path.basename(filename)


def is_inside(path: str, folder: str) -> bool:
    """Returns whether an absolute path lies in a folder or below."""
    folder = os.path.abspath(folder)
    try:
        return os.path.commonpath([path, folder]) == folder
    except ValueError:  # on Windows: two drives
        return False


def model_hash(filename: str) -> str:
    """Returns the hash older versions named checkpoints by: 8 digits, of the 64 KiB that follow the first MiB."""
    try:
        with open(filename, "rb") as file:
            file.seek(0x100000)
            return hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    except FileNotFoundError:
        return "NOFILE"


def replace_key(d: dict[str, Any], key: str, new_key: str, value: Any) -> None:
    """Gives an entry of a dictionary a new key and value in place, where it stands in the order."""
    entries = [(new_key, value) if k == key else (k, v) for k, v in list(d.items())]
    d.clear()
    d.update(entries)


def find_files() -> Iterator[str]:
    """Yields the files in the checkpoint folder and --ckpt-dir, each once, those of modules left out.

    A folder of diffusers is one of them, what is in it is not.
    """
    seen: set[str] = set()
    for folder in filter(None, dict.fromkeys([model_path, shared.cmd_opts.ckpt_dir])):
        files = list(shared.walk_files(folder, (*CHECKPOINT_EXTENSIONS, ".json")))
        pipelines = [os.path.dirname(file) for file in files if os.path.basename(file) == diffusers_folders.INDEX]
        inside = tuple(os.path.join(pipeline, "") for pipeline in pipelines)
        files = [file for file in files if not file.endswith(".json") and not file.startswith(inside)]
        for filename in [*filter(diffusers_folders.denoiser, pipelines), *files]:
            if is_module(filename) or filename in seen:
                continue
            if not os.path.exists(filename):
                logger.warning("%s is a link to a file that is not there", filename)
                continue
            seen.add(filename)
            yield filename


def is_module(filename: str) -> bool:
    """Says whether a file is a VAE or text encoder that belongs to a checkpoint, by its name."""
    stem = os.path.splitext(os.path.basename(filename))[0]
    return os.path.splitext(stem)[1][1:].lower() in MODULE_NAMES


def scan() -> None:
    """Fills the registry anew: the file of --ckpt, those in the folders, and the embedded checkpoint.

    The file of --ckpt becomes the configured checkpoint.
    """
    checkpoints_list.clear()
    checkpoint_aliases.clear()
    unloadable.clear()
    chosen = shared.cmd_opts.ckpt
    if chosen and os.path.exists(chosen):
        info = CheckpointInfo(chosen)
        info.register()
        shared.opts.data["sd_model_checkpoint"] = info.title
    elif chosen and chosen != shared.default_sd_model_file:
        logger.error("there is no checkpoint %s (--ckpt)", chosen)

    for filename in sorted(find_files(), key=str.lower):
        CheckpointInfo(filename).register()
    register_embedded()
    accept_configured_title()


def without_checksum(title: str) -> str:
    """Returns a title without the hash in brackets at its end, and without the blanks before that.

    As re_strip_checksum has it, which extensions use, but in one pass.
    """
    text = title.rstrip()
    start = text.find("[", text.rfind("]", 0, -1) + 1)
    if not text.endswith("]") or not -1 < start < len(text) - 2:
        return title
    return text[:start].rstrip()


def accept_configured_title() -> None:
    """Lets the configured title name a file whose hash is not known here yet.

    Settings brought along from elsewhere have the hash in it.
    """
    title = shared.opts.data.get("sd_model_checkpoint") or ""
    info = checkpoint_aliases.get(without_checksum(title))
    if info is not None and info.sha256 is None:
        checkpoint_aliases.setdefault(title, info)


def register_embedded() -> None:
    """Enters the checkpoint that comes with the program, unless the user has a file of that name."""
    info = CheckpointInfo(embedded_checkpoint)
    if info.name not in checkpoint_aliases:
        names_taken = set(checkpoint_aliases)
        checkpoints_list[info.title] = info
        checkpoint_aliases.update({name: info for name in info.ids if name not in names_taken})


def companion_of(filename: str) -> str:
    """Returns the path that a checkpoint's preview, description and notes are named after.

    It is the checkpoint's own, but for the one that comes with the program a file of its name in the user's folder.
    """
    return os.path.join(model_path, os.path.basename(filename)) if filename == embedded_checkpoint else filename


def checkpoint_tiles(use_short: bool = False) -> list[str]:
    """Returns the titles of all checkpoints, or their short ones."""
    return [info.short_title if use_short else info.title for info in list(checkpoints_list.values())]


def find(search_string: str | None) -> CheckpointInfo | None:
    """Returns the checkpoint a text means, None if there is none.

    The text is one of its names, else a part of its title, with or without a hash in brackets; of several titles the
    shortest counts.
    """
    if not search_string:
        return None
    if search_string in checkpoint_aliases:
        return checkpoint_aliases[search_string]
    for text in (search_string, without_checksum(search_string)):
        found = [info for info in list(checkpoints_list.values()) if text in info.title]
        if text and found:
            return min(found, key=lambda info: len(info.title))
    return None


def named(name: str) -> CheckpointInfo | None:
    """Returns the checkpoint of exactly this name; a hash in it does not count while that of the file is not known."""
    if name in checkpoint_aliases:
        return checkpoint_aliases[name]
    info = checkpoint_aliases.get(without_checksum(name))
    return info if info is not None and info.sha256 is None else None


def nearest(name: str) -> str:
    """Returns the end of a message that names the checkpoint most like a name that none has."""
    names = [name for info in list(checkpoints_list.values()) for name in (info.name_for_extra, info.title)]
    return option_values.nearest(name, names)


def first() -> CheckpointInfo | None:
    """Returns the checkpoint to take when none is chosen: the user's first that is not known to be unloadable, else the
    embedded one.
    """
    infos = [info for info in list(checkpoints_list.values()) if info.filename not in unloadable or info.is_embedded]
    users = [info for info in infos if not info.is_embedded]
    return next(iter(users or infos), None)
