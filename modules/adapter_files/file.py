"""engine: reads files of networks of the LoRA family: which layers they are for, and what they hold for each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from modules import adapters, weights
from modules.adapter_files import strengths, tensor_names
from modules.adapter_files.families import NetworkFamily, family_of
from modules.errors import ModelLoadError
from modules.model_families import shapes

BUNDLED = "bundle_emb."
"""First part of the keys of word vectors that come with a network."""

OF_NO_NETWORK = frozenset({"weight", *adapters.COMMON_NAMES}) - {"diff_b"}
"""Names of tensors that, without others, belong to an ordinary layer."""


@dataclass(frozen=True, eq=False)
class NetworkFile:
    """What is in a file; weights stay in it until they are used.

    layers: name of a layer as the file has it -> what it holds for it. bundled: keys of word vectors, `BUNDLED` and all
    -> their tensors. unread: keys that say nothing known. family: the kind of model it is for, None if nothing tells.
    """

    filename: str
    metadata: Mapping[str, Any]
    layers: Mapping[str, adapters.Adapter]
    bundled: Mapping[str, torch.Tensor]
    unread: tuple[str, ...]
    family: NetworkFamily | None


def read(filename: str) -> NetworkFile:
    """Reads a file of networks. Raises ModelLoadError for one that is damaged, or holds nothing of a known kind."""
    tensors = weights.read_state_dict(filename)
    metadata = weights.read_metadata_from_safetensors(filename) if weights.is_safetensors(filename) else {}
    bundled = {key: tensor for key, tensor in tensors.items() if key.startswith(BUNDLED)}
    groups, unread = grouped({key: tensor for key, tensor in tensors.items() if key not in bundled})
    header, folder = metadata.get(strengths.HEADER), folder_config(filename, groups)
    layers: dict[str, adapters.Adapter] = {}
    for name, group in groups.items():
        try:
            adapter = adapters.read(complete(name, group, header if isinstance(header, dict) else {}, folder))
        except (adapters.AdapterError, strengths.UnreadableStrength) as e:
            raise ModelLoadError(f"{filename} holds for the layer {name} what cannot be used: {e}") from e
        layers[name] = adapter
    if not layers and not bundled:
        found = shapes.describe(weights.shapes_of(tensors))
        raise ModelLoadError(f"{filename} holds no network of a known kind. It holds: {found}")
    family = family_of(weights.shapes_of(tensors), metadata)
    return NetworkFile(filename, metadata, layers, bundled, tuple(unread), family)


def grouped(tensors: weights.StateDict) -> tuple[dict[str, weights.StateDict], list[str]]:
    """Returns the tensors of each layer by their short names, and the keys that say nothing known."""
    groups: dict[str, dict[str, tuple[str, torch.Tensor]]] = {}
    unread = []
    for key, tensor in tensors.items():
        found = tensor_names.split(key)
        if found is None:
            unread.append(key)
        else:
            groups.setdefault(found[0], {})[found[1]] = (key, tensor)
    for name in [name for name, group in groups.items() if group.keys() <= OF_NO_NETWORK]:
        unread.extend(key for key, _ in groups.pop(name).values())
    return {name: {n: tensor for n, (_, tensor) in group.items()} for name, group in groups.items()}, unread


def complete(
    name: str, group: weights.StateDict, header: strengths.Config, folder: strengths.Config
) -> weights.StateDict:
    """Returns the tensors of a layer with the strength that is written elsewhere, and lengths of rows as such."""
    lengths = group.pop("row_lengths", None)
    if lengths is not None:
        group["dora_scale"] = lengths.reshape(-1, 1)
    if "alpha" in group or "lora_down.weight" not in group:
        return group
    config, path = strengths.config_of(name, header, folder)
    rank = next(iter(group["lora_down.weight"].shape), 0)
    return {**group, **strengths.strength(config, path, rank)}


def folder_config(filename: str, layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns peft's settings beside a file of a folder that peft wrote, {} for other files."""
    path = os.path.join(os.path.dirname(filename), "adapter_config.json")
    if not any(name.startswith(strengths.FOLDER_PREFIX) for name in layers) or not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf8") as file:
            config = json.load(file)
    except (OSError, ValueError) as e:
        raise ModelLoadError(f"{path}, which says how strong {filename} is, cannot be read: {e}") from e
    return config if isinstance(config, dict) else {}
