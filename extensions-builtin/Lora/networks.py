"""Networks of the LoRA family: which there are, which are active, and the names under which extensions know all that.

`loaded_networks` holds those that are active. What they change is a patch of the model (`modules.network_patches`),
which `follow` puts on: when networks are loaded, and before each use of the model, as extensions change strengths in
between.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lora_patches
import network
import network_files
import network_full
import network_glora
import network_hada
import network_ia3
import network_lokr
import network_lora
import network_norm
import network_oft
import torch
from torch import nn

from modules import adapter_files, errors, infotext, model_patches, sd_hijack, shared
from modules.adapter_files import Target
from modules.network_patches import KIND, Networks
from modules.textual_inversion import bundled
from modules.util import FileStamp

logger = logging.getLogger(__name__)

module_types: list[network.ModuleType] = [
    network_lora.ModuleTypeLora(),
    network_hada.ModuleTypeHada(),
    network_ia3.ModuleTypeIa3(),
    network_lokr.ModuleTypeLokr(),
    network_full.ModuleTypeFull(),
    network_norm.ModuleTypeNorm(),
    network_glora.ModuleTypeGLora(),
    network_oft.ModuleTypeOFT(),
]

available_networks: dict[str, network.NetworkOnDisk] = {}
"""Name -> file."""
available_network_aliases: dict[str, network.NetworkOnDisk] = {}
"""Name or alias, as it may stand in a tag -> file."""
forbidden_network_aliases: dict[str, int] = {}
"""Aliases, in lower case, that several files have: they find files by name only."""
available_network_hash_lookup: dict[str, network.NetworkOnDisk] = {}
"""First digits of the hash -> file."""
loaded_networks: list[network.Network] = []
"""The active ones, in the order of their tags."""
loaded_bundle_embeddings: dict[str, Any] = {}
"""Words that active networks bring."""
networks_in_memory: dict[str, network.Network] = {}
"""Those that were read and are kept for later, the oldest first."""

originals = lora_patches.LoraPatches()

extra_network_lora: Any = None
"""What activates them, for extensions; set when it is registered."""

FOLLOWING = "networks as extensions change them"
"""Kind of the patch that has a model follow `loaded_networks`."""


@dataclass(frozen=True)
class NetworkSettings:
    """What the settings say of networks. names_missing: in the console; warns_missing: on the page."""

    prefers_filename: bool
    functional: bool
    in_memory_limit: int
    names_missing: bool
    warns_missing: bool

    @classmethod
    def from_opts(cls, opts: Any) -> NetworkSettings:
        """Reads the settings as they are for the running job."""
        return cls(
            prefers_filename=opts.lora_preferred_name == "Filename",
            functional=opts.lora_functional,
            in_memory_limit=opts.lora_in_memory_limit,
            names_missing=opts.lora_not_found_warning_console,
            warns_missing=opts.lora_not_found_gradio_warning,
        )


def list_available_networks() -> None:
    """Finds the files anew."""
    os.makedirs(shared.cmd_opts.lora_dir, exist_ok=True)
    files = network_files.find()
    for registry in (
        available_networks,
        available_network_aliases,
        forbidden_network_aliases,
        available_network_hash_lookup,
    ):
        registry.clear()
    forbidden_network_aliases.update({"none": 1, "Addams": 1})
    for found in files:
        register(found)


def update_available_networks_by_names(names: Sequence[str]) -> None:
    """Finds files of these names that were added since all were listed."""
    for found in network_files.find():
        if found.name in names:
            register(found)


def register(found: network_files.FoundNetwork) -> None:
    """Makes a file known under its name and its alias. The last one of several with an alias has it."""
    on_disk = network.NetworkOnDisk(found.name, found.filename, found.facts)
    available_networks[found.name] = on_disk
    namesake = available_network_aliases.get(on_disk.alias)
    if namesake is not None and namesake.filename != on_disk.filename:
        forbidden_network_aliases[on_disk.alias.lower()] = 1
    for name in (found.name, on_disk.alias):
        available_network_aliases[infotext.tag_name(name)] = on_disk
        available_network_aliases[name] = on_disk


def find(name: str) -> network.NetworkOnDisk | None:
    """Returns the file that a tag names, None if there is none."""
    registry = available_networks if name.lower() in forbidden_network_aliases else available_network_aliases
    return registry.get(name)


def find_all(names: Sequence[str]) -> list[network.NetworkOnDisk | None]:
    """Returns the file of each name; looks for new files if one is missing."""
    for look_again in (lambda: update_available_networks_by_names(names), list_available_networks):
        found = [find(name) for name in names]
        if None not in found:
            return found
        look_again()
    return [find(name) for name in names]


def load_networks(
    names: Sequence[str],
    te_multipliers: Sequence[float] | None = None,
    unet_multipliers: Sequence[float] | None = None,
    dyn_dims: Sequence[int | None] | None = None,
) -> None:
    """Makes the networks of these names active, and no others. A name may come twice; its last strength counts twice.

    What is missing or cannot be read is told to the job, the others are loaded.
    """
    already_loaded = {net.name: net for net in loaded_networks if net.name in names}
    loaded_networks.clear()
    missing = []
    for i, (name, on_disk) in enumerate(zip(names, find_all(names) if names else (), strict=True)):
        net = already_loaded.get(name)
        if on_disk is not None:
            try:
                net = read_network(name, on_disk, net)
            except Exception as e:  # whatever is wrong with one file of a user's, the others are to be loaded
                tell_broken(on_disk, e)
                continue
        if net is None:
            missing.append(name)
            continue
        net.te_multiplier = te_multipliers[i] if te_multipliers else 1.0
        net.unet_multiplier = unet_multipliers[i] if unet_multipliers else 1.0
        net.dyn_dim = dyn_dims[i] if dyn_dims else None
        loaded_networks.append(net)
    if missing:
        tell_missing(missing)
    purge_networks_from_memory()
    use_bundled_embeddings()
    follow()


def read_network(name: str, on_disk: network.NetworkOnDisk, net: network.Network | None) -> network.Network:
    """Returns a network, from memory unless its file is newer. net: it, if it was active until now."""
    net = net or networks_in_memory.get(name)
    if net is None or net.is_outdated(on_disk):
        net = load_network(name, on_disk)
        networks_in_memory.pop(name, None)
        networks_in_memory[name] = net
    net.mentioned_name = name
    on_disk.read_hash()
    return net


def load_network(name: str, network_on_disk: network.NetworkOnDisk) -> network.Network:
    """Reads a network from its file. Raises ModelLoadError for one that is none."""
    net = network.Network(name, network_on_disk)
    net.stamp = FileStamp.of(network_on_disk.filename)
    net.mtime = net.stamp.mtime
    net.file = adapter_files.read(network_on_disk.filename)
    net.bundle_embeddings = bundled.read(net.file.bundled, name)
    return net


def tell_broken(on_disk: network.NetworkOnDisk, error: Exception) -> None:
    """Tells log and job of a file that cannot be read."""
    if isinstance(error, errors.WebuiError):
        errors.report(f"Lora {on_disk.name} is left out: {error}")
    else:
        errors.display(error, f"loading network {on_disk.filename}")
    sd_hijack.model_hijack.comments.append(f"Lora {on_disk.name} cannot be read and is left out")


def tell_missing(names: Sequence[str]) -> None:
    """Tells the job of tags that name no file, and whoever the settings say."""
    message = f"Lora not found: {', '.join(names)}"
    sd_hijack.model_hijack.comments.append(message)
    settings = NetworkSettings.from_opts(shared.opts)
    if settings.names_missing:
        logger.warning("%s", message)
    if settings.warns_missing:
        import gradio

        gradio.Warning(message)


def purge_networks_from_memory() -> None:
    """Forgets the networks read longest ago that are more than the setting lora_in_memory_limit wants kept."""
    limit = max(NetworkSettings.from_opts(shared.opts).in_memory_limit, 0)
    for name in list(networks_in_memory)[: max(len(networks_in_memory) - limit, 0)]:
        del networks_in_memory[name]


def use_bundled_embeddings() -> None:
    """Makes the words of the active networks known, and no others."""
    loaded_bundle_embeddings.clear()
    for net in loaded_networks:
        loaded_bundle_embeddings.update(net.bundle_embeddings | loaded_bundle_embeddings)  # the first of a word counts
    bundled.wish_for(embedding for net in loaded_networks for embedding in net.bundle_embeddings.values())


def follow() -> None:
    """Has the model of the running job changed as the active networks now say."""
    wishes = model_patches.wishes()
    active = tuple(net.active() for net in loaded_networks)
    if active:
        keep_following()
        patch = Networks(active, NetworkSettings.from_opts(shared.opts).functional)
        if wishes.wanted.get(KIND) != patch:
            wishes.put(KIND, patch)
    elif KIND in wishes.wanted:
        wishes.take(KIND)


def keep_following() -> None:
    """Has the model of the running job follow `loaded_networks`, also while it is empty, until the job's end."""
    wishes = model_patches.wishes()
    if FOLLOWING not in wishes.wanted:
        wishes.put(FOLLOWING, following)


@contextmanager
def following(model: Any) -> Iterator[None]:
    """Has a model (WebuiSdModel) look for changed strengths before each use, inside the block."""
    parts = (model.model, *model.cond_stage_model.encoders.values())
    handles = [part.register_forward_pre_hook(lambda *_: follow()) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def active_patch() -> Networks | None:
    """Returns the networks that the running job has on its model, None if it has none."""
    return model_patches.wishes().wanted.get(KIND)


def create_module(net: network.Network, target: Target) -> network.NetworkModule:
    """Returns what a network holds for a layer of the model, as extensions know it."""
    layer = target.layer
    weights = network.NetworkWeights(target.name, layer.sd_key, dict(target.adapter.tensors), layer.module)
    made = (module_type.create_module(net, weights) for module_type in module_types)
    return next((module for module in made if module is not None), network.NetworkModule(net, weights, target.adapter))


def assign_network_names_to_compvis_modules(sd_model: Any) -> None:
    """Names the layers of a model as v1.10.1 does, in its `network_layer_mapping` and their `network_layer_name`."""
    named = {name: layer.module for name, layer in sd_model.layer_names.by_sd_key.items()}
    # What is around the layers has a name as well: extensions look for attention.
    around = {path.replace(".", "_"): module for path, module in sd_model.model.named_modules() if path}
    sd_model.network_layer_mapping = {**around, **named}
    for name, module in sd_model.network_layer_mapping.items():
        module.network_layer_name = name


def network_apply_weights(self: nn.Module) -> None:
    """Has the model of a layer changed as the active networks say."""
    follow()


def network_restore_weights_from_backup(self: nn.Module) -> None:
    """Gives the model of a layer its own weights back."""
    model_patches.wishes().take(KIND)


def network_reset_cached_weight(self: nn.Module) -> None:
    """Forgets what a layer was before; called when it is about to get other weights."""
    network_restore_weights_from_backup(self)


def network_forward(org_module: nn.Module, input: torch.Tensor, original_forward: Callable[..., Any]) -> torch.Tensor:
    """Returns the output of a layer, changed as the active networks say."""
    network_apply_weights(org_module)
    return original_forward(org_module, input)


def network_Linear_forward(self: nn.Linear, input: torch.Tensor) -> torch.Tensor:
    """Stands for the forward of a layer."""
    return network_forward(self, input, originals.Linear_forward)


def network_Conv2d_forward(self: nn.Conv2d, input: torch.Tensor) -> torch.Tensor:
    """Stands for the forward of a layer."""
    return network_forward(self, input, originals.Conv2d_forward)


def network_GroupNorm_forward(self: nn.GroupNorm, input: torch.Tensor) -> torch.Tensor:
    """Stands for the forward of a layer."""
    return network_forward(self, input, originals.GroupNorm_forward)


def network_LayerNorm_forward(self: nn.LayerNorm, input: torch.Tensor) -> torch.Tensor:
    """Stands for the forward of a layer."""
    return network_forward(self, input, originals.LayerNorm_forward)


def network_MultiheadAttention_forward(self: nn.MultiheadAttention, *args: Any, **kwargs: Any) -> Any:
    """Stands for the forward of a layer."""
    network_apply_weights(self)
    return originals.MultiheadAttention_forward(self, *args, **kwargs)


def network_Linear_load_state_dict(self: nn.Linear, *args: Any, **kwargs: Any) -> None:
    """Stands for the loading of a layer's weights."""
    network_reset_cached_weight(self)
    originals.Linear_load_state_dict(self, *args, **kwargs)


def network_Conv2d_load_state_dict(self: nn.Conv2d, *args: Any, **kwargs: Any) -> None:
    """Stands for the loading of a layer's weights."""
    network_reset_cached_weight(self)
    originals.Conv2d_load_state_dict(self, *args, **kwargs)


def network_GroupNorm_load_state_dict(self: nn.GroupNorm, *args: Any, **kwargs: Any) -> None:
    """Stands for the loading of a layer's weights."""
    network_reset_cached_weight(self)
    originals.GroupNorm_load_state_dict(self, *args, **kwargs)


def network_LayerNorm_load_state_dict(self: nn.LayerNorm, *args: Any, **kwargs: Any) -> None:
    """Stands for the loading of a layer's weights."""
    network_reset_cached_weight(self)
    originals.LayerNorm_load_state_dict(self, *args, **kwargs)


def network_MultiheadAttention_load_state_dict(self: nn.MultiheadAttention, *args: Any, **kwargs: Any) -> None:
    """Stands for the loading of a layer's weights."""
    network_reset_cached_weight(self)
    originals.MultiheadAttention_load_state_dict(self, *args, **kwargs)
