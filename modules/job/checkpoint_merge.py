"""job: merging checkpoints into a new file, as the tab Checkpoint Merger asks for it."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import safetensors.torch
import torch

from modules import (
    errors,
    image_names,
    merge,
    model_families,
    quantized,
    sd_models,
    sd_models_config,
    sd_vae,
    shared,
    weights,
    whole_files,
)
from modules.checkpoints import CheckpointInfo
from modules.merge import MergeResult, Method

logger = logging.getLogger(__name__)

CONFIG_OF_ANY, CONFIG_OF_B, CONFIG_OF_C, NO_CONFIG = range(4)


@dataclass(frozen=True)
class MergeRequest:
    """What to merge, and how.

    models: the checkpoints A, B, C; those that the method needs. multiplier: share of B, or of B - C. as_half: save in
    float16. custom_name: of the file, without extension. checkpoint_format: its extension. config_source: which model's
    architecture file is copied (0 the first that has one, 1 B's, 2 C's, 3 none). bake_in_vae: name of a VAE file, or
    "None". discard_weights: regular expression of weights to leave out. metadata_json: further metadata of the file.
    """

    models: tuple[CheckpointInfo, CheckpointInfo | None, CheckpointInfo | None]
    method: Method
    multiplier: float
    as_half: bool
    custom_name: str
    checkpoint_format: str
    config_source: int
    bake_in_vae: str
    discard_weights: str
    save_metadata: bool
    add_merge_recipe: bool
    copy_metadata_fields: bool
    metadata_json: str


def find_models(method: Method, *names: str) -> tuple[CheckpointInfo, CheckpointInfo | None, CheckpointInfo | None]:
    """Returns the checkpoints A, B, C of these titles; None for those the method does not need."""
    roles = ("primary", "secondary", "tertiary")
    found: list[CheckpointInfo | None] = [None] * 3
    for index in range(method.models):
        name = names[index]
        if not name:
            raise errors.InvalidInput(f"{method.name} needs a {roles[index]} model", field=f"{roles[index]}_model_name")
        found[index] = find_model(name)
        if found[index] is None:
            raise errors.NotFound(f"no checkpoint is called {name!r}", field=f"{roles[index]}_model_name")
    return tuple(found)


def find_model(name: str) -> CheckpointInfo | None:
    """Returns the checkpoint of a title, also of one from before its hash was known."""
    return sd_models.checkpoints_list.get(name) or sd_models.checkpoint_aliases.get(name)


def merge_checkpoints(request: MergeRequest) -> str:
    """Carries out a merge and returns the path of the new file, which is listed with its hash."""
    shared.state.job_count = request.method.models - 1
    custom_metadata = parse_metadata(request.metadata_json) if request.save_metadata else {}
    check_memory(request.models)
    result = merge_models(request)

    if request.bake_in_vae in sd_vae.vae_dict:
        shared.state.textinfo = "Baking in VAE"
        vae = sd_vae.load_vae_dict(sd_vae.vae_dict[request.bake_in_vae], map_location="cpu")
        merge.bake_in_vae(result.state_dict, vae, request.as_half)
    if request.as_half and request.method.interpolate is None:
        merge.halve(result.state_dict)
    merge.discard(result.state_dict, request.discard_weights)

    shared.state.textinfo = "Saving"
    metadata = file_metadata(request, result, custom_metadata) if request.save_metadata else {}
    config = find_config(request.config_source, *request.models)
    with image_names.unused_name(output_path(request, result), lambda path: is_taken(path, config)) as path:
        save_checkpoint(result, path, metadata)
    sd_models.list_models()
    for info in list(sd_models.checkpoints_list.values()):
        if info.filename == path:
            info.calculate_shorthash()
    create_config(path, request.config_source, *request.models)
    shared.state.textinfo = "Checkpoint saved"
    return path


def check_memory(models: tuple[CheckpointInfo | None, ...]) -> None:
    """Raises InvalidInput for checkpoints that the memory cannot hold two at a time: B with C, then A with B."""
    a, b, c = (os.path.getsize(model.filename) if model is not None else 0 for model in models)
    needed = max(a + b, b + c)
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    if needed > free:
        raise errors.InvalidInput(
            f"the merge needs {needed >> 20} MB of memory, and {free >> 20} MB are free: unload models, or merge "
            "smaller files",
            field="primary_model_name",
        )


def merge_models(request: MergeRequest) -> MergeResult:
    """Returns the merged weights, on the CPU."""
    model_a, model_b, model_c = request.models
    b: Mapping[str, torch.Tensor] | None = None
    if model_b is not None:
        shared.state.textinfo = "Loading B"
        b = plain_weights(model_b)
    if model_c is not None:
        shared.state.textinfo = "Loading C"
        c = plain_weights(model_c)
        check_same_kind("tertiary_model_name", b, c)
        shared.state.textinfo = "Merging B and C"
        b = merge.differences(b, c)
        del c
        shared.state.nextjob()

    shared.state.textinfo = f"Loading {model_a.filename}..."
    a = plain_weights(model_a)
    if b is None:
        return MergeResult(a)
    check_same_kind("secondary_model_name", a, b)
    shared.state.textinfo = "Merging A and B"
    return merge.merge(a, b, request.method.interpolate, request.multiplier, request.as_half, show_progress)


def plain_weights(model: CheckpointInfo) -> weights.StateDict:
    """Returns the weights of a checkpoint, on the CPU. Raises InvalidInput for numbers that mean others."""
    tensors = sd_models.read_state_dict(model.filename, map_location="cpu")
    if not quantized.is_plain(tensors):
        raise errors.InvalidInput(
            f"the weights of {model.title} have scales or are in blocks of GGUF: choose its file in 16 bits to merge",
            field="primary_model_name",
        )
    return tensors


def check_same_kind(field: str, one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    """Raises InvalidInput for models that have no weight of one name, and for those whose networks differ in kind.

    Unknown ones are left to their shapes. field: of the request that names the other one.
    """
    kinds = [model_families.detect(weights.shapes_of(tensors)) for tensors in (one, other)]
    if None not in kinds and len({(kind.architecture, kind.text_encoders, type(kind.schedule)) for kind in kinds}) > 1:
        raise errors.InvalidInput(
            f"these are models of different families, {kinds[0].title} and {kinds[1].title}: their weights mean "
            "different things, so choose checkpoints of one family",
            field=field,
        )
    if one.keys().isdisjoint(other):
        raise errors.InvalidInput(
            "the models have no weight of one name, so nothing can be merged: choose whole checkpoints of one layout",
            field=field,
        )


def show_progress(done: int, total: int) -> None:
    """Shows the weights merged so far, of all, as steps of the job."""
    shared.state.sampling_step, shared.state.sampling_steps = done, total


def output_path(request: MergeRequest, result: MergeResult) -> str:
    """Returns where the merged file goes; raises InvalidInput for a name that leads out of the checkpoint folder."""
    names = tuple(model.model_name if model else "" for model in request.models)
    name = merge.file_name(request.method, names, request.multiplier, result, request.custom_name)
    folder = os.path.abspath(shared.cmd_opts.ckpt_dir or sd_models.model_path)
    path = os.path.abspath(os.path.join(folder, f"{name}.{request.checkpoint_format}"))
    if os.path.commonpath([folder, path]) != folder:
        raise errors.InvalidInput(f"{request.custom_name!r} is not a name inside {folder}", field="custom_name")
    return path


def save_checkpoint(result: MergeResult, path: str, metadata: Mapping[str, str]) -> str:
    """Writes the weights to path, whole or not at all, and returns path."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = whole_files.unfinished_name(path)
    try:
        with whole_files.replacing(path, temporary):
            if path.endswith(".safetensors"):
                safetensors.torch.save_file(result.state_dict, temporary, metadata=dict(metadata) or None)
            else:
                torch.save(result.state_dict, temporary)
    except OSError as e:
        raise errors.WebuiError(f"cannot save {path}: {e.strerror or e}") from e
    return path


def is_taken(path: str, config: str | None) -> bool:
    """Returns whether a new checkpoint would replace a file, or its architecture file config that of another one."""
    copy = config_of(path)
    replaces_config = config is not None and os.path.exists(copy) and not os.path.samefile(config, copy)
    return os.path.exists(path) or replaces_config


def config_of(checkpoint: str) -> str:
    """Returns where the architecture file of a checkpoint lies, if it has one."""
    return os.path.splitext(checkpoint)[0] + ".yaml"


def find_config(
    config_source: int, a: CheckpointInfo | None, b: CheckpointInfo | None, c: CheckpointInfo | None
) -> str | None:
    """Returns the architecture file that lies beside the chosen model, None if there is none."""
    sources = {CONFIG_OF_ANY: (a, b, c), CONFIG_OF_B: (b,), CONFIG_OF_C: (c,)}.get(config_source, ())
    configs = (sd_models_config.find_checkpoint_config_near_filename(info) for info in sources)
    return next(filter(None, configs), None)


def create_config(
    ckpt_result: str,
    config_source: int,
    a: CheckpointInfo | None,
    b: CheckpointInfo | None,
    c: CheckpointInfo | None,
) -> None:
    """Copies the architecture file that lies beside the chosen model to the new checkpoint."""
    config, copy = find_config(config_source, a, b, c), config_of(ckpt_result)
    if config is None or os.path.abspath(config) == os.path.abspath(copy):
        return
    logger.info("Copying config: %s -> %s", config, copy)
    with suppress(shutil.SameFileError):
        shutil.copyfile(config, copy)


def parse_metadata(metadata_json: str) -> dict[str, Any]:
    """Returns the metadata that a text of JSON stands for, none for an empty one."""
    if not metadata_json.strip():
        return {}
    try:
        metadata = json.loads(metadata_json)
    except ValueError as e:
        raise errors.InvalidInput(f"the metadata is not valid JSON: {e}", field="metadata_json") from e
    if not isinstance(metadata, dict):
        raise errors.InvalidInput("the metadata is not a JSON object", field="metadata_json")
    return metadata


def file_metadata(request: MergeRequest, result: MergeResult, custom: Mapping[str, Any]) -> dict[str, str]:
    """Returns the metadata of the merged file: that of its sources, the given one, and the recipe, as asked for."""
    metadata: dict[str, Any] = {}
    if request.copy_metadata_fields:
        for model in filter(None, request.models):
            metadata |= model.metadata
    metadata |= custom
    metadata["format"] = "pt"
    if request.add_merge_recipe:
        metadata |= merge.recipe(
            tuple(_ingredient(model) if model else None for model in request.models),
            result,
            interp_method=request.method.name,
            multiplier=request.multiplier,
            save_as_half=request.as_half,
            custom_name=request.custom_name,
            config_source=request.config_source,
            bake_in_vae=request.bake_in_vae,
            discard_weights=request.discard_weights,
        )
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}


def _ingredient(model: CheckpointInfo) -> merge.Ingredient:
    model.calculate_shorthash()
    return merge.Ingredient(model.sha256, model.name, model.hash, model.metadata)


def read_metadata(primary_model_name: str, secondary_model_name: str, tertiary_model_name: str) -> str:
    """Returns the metadata of checkpoints, later ones over earlier ones, as JSON."""
    metadata: dict[str, Any] = {}
    for name in (primary_model_name, secondary_model_name, tertiary_model_name):
        info = find_model(name)
        if info is not None:
            metadata |= info.metadata
    return json.dumps(metadata, indent=4, ensure_ascii=False)
