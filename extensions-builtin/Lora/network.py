"""Networks and their parts under the names that extensions know; the maths is in `modules.adapters`."""

from __future__ import annotations

import enum
import functools
import weakref
from typing import Any, ClassVar, NamedTuple

import network_files
import torch
from torch import nn

from modules import adapters, hashes, shared
from modules.adapter_files import NetworkFile
from modules.network_patches import ActiveNetwork, match_of, operation_of
from modules.util import FileStamp


class SdVersion(enum.Enum):
    """The versions of checkpoints that networks are made for."""

    Unknown = 1
    SD1 = 2
    SD2 = 3
    SDXL = 4


class NetworkOnDisk:
    """A file of a network. name: it has in tags; alias: the name its maker gave it.

    hash, shorthash: of its weights, empty until they are known. facts: what its header says.
    """

    def __init__(self, name: str, filename: str, facts: network_files.HeaderFacts | None = None):
        self.name = name
        self.filename = filename
        self.facts = facts or network_files.facts_of(filename)
        self.alias = self.facts.alias or name
        self.is_safetensors = filename.lower().endswith(".safetensors")
        self.sd_version = SdVersion[self.facts.version]
        self.hash = ""
        self.shorthash = ""
        self.set_hash(self.facts.model_hash or self._known_hash() or "")

    @functools.cached_property
    def metadata(self) -> dict[str, Any]:
        """What its header says, all of it."""
        return network_files.read_metadata(self.filename)

    def _known_hash(self) -> str | None:
        return hashes.sha256_from_cache(self.filename, f"lora/{self.name}", use_addnet_hash=self.is_safetensors)

    def set_hash(self, v: str) -> None:
        """Notes the hash, by which infotexts are understood."""
        import networks

        self.hash = v
        self.shorthash = v[:12]
        if self.shorthash:
            networks.available_network_hash_lookup[self.shorthash] = self

    def read_hash(self) -> None:
        """Computes the hash, if it is not known."""
        if not self.hash:
            sha256 = hashes.sha256(self.filename, f"lora/{self.name}", use_addnet_hash=self.is_safetensors)
            self.set_hash(sha256 or "")

    def get_alias(self) -> str:
        """Returns the name for tags, as the setting lora_preferred_name wants it; one that finds this file."""
        import networks

        settings = networks.NetworkSettings.from_opts(shared.opts)
        if settings.prefers_filename or self.alias.lower() in networks.forbidden_network_aliases:
            return self.name
        return self.alias


class Network:
    """A network that was read. te_multiplier, unet_multiplier, dyn_dim: as the prompt of the job asks for it.

    mentioned_name: as the prompt calls it. mtime: of the file when it was read. bundle_embeddings: words it brings.
    """

    def __init__(self, name: str, network_on_disk: NetworkOnDisk):
        self.name = name
        self.network_on_disk = network_on_disk
        self.te_multiplier = 1.0
        self.unet_multiplier = 1.0
        self.dyn_dim: int | None = None
        self.bundle_embeddings: dict[str, Any] = {}
        self.mtime: float | None = None
        self.stamp: FileStamp | None = None
        self.mentioned_name: str | None = None
        self.file: NetworkFile | None = None
        self._modules: weakref.WeakKeyDictionary[nn.Module, dict[str, NetworkModule]] = weakref.WeakKeyDictionary()

    def is_outdated(self, network_on_disk: NetworkOnDisk) -> bool:
        """Tells whether the file to be used is another one, or newer."""
        is_another = network_on_disk.filename != self.network_on_disk.filename
        return is_another or FileStamp.of(network_on_disk.filename) != self.stamp

    def active(self) -> ActiveNetwork:
        """Returns it as it acts on a model."""
        return ActiveNetwork(
            self.mentioned_name or self.name, self.file, self.te_multiplier, self.unet_multiplier, self.dyn_dim
        )

    @property
    def modules(self) -> dict[str, NetworkModule]:
        """`network_layer_name` of a layer of the loaded model -> what it holds for it."""
        import networks

        model = shared.sd_model
        if model not in self._modules:
            targets = match_of(model, self.file).targets
            self._modules[model] = {target.layer.sd_key: networks.create_module(self, target) for target in targets}
        return self._modules[model]


class NetworkWeights(NamedTuple):
    """The tensors of a layer. w: by their names in the file; sd_key, sd_module: of the layer in the model."""

    network_key: str
    sd_key: str
    w: dict[str, torch.Tensor]
    sd_module: nn.Module


class NetworkModule:
    """What a network holds for a layer."""

    def __init__(self, net: Network, weights: NetworkWeights, adapter: adapters.Adapter | None = None):
        self.network = net
        self.network_key = weights.network_key
        self.sd_key = weights.sd_key
        self.sd_module = weights.sd_module
        self.weights = weights.w
        self.adapter = adapter or adapters.read(weights.w)
        self.shape = getattr(getattr(weights.sd_module, "weight", None), "shape", None)
        self.dim = self.adapter.dim
        self.alpha = self.adapter.alpha
        self.scale = self.adapter.number("scale")
        self.bias = weights.w.get("bias")
        self.dora_scale = weights.w.get("dora_scale")

    def multiplier(self) -> float:
        """Returns the strength at which the network acts on this layer."""
        is_text = "transformer" in self.sd_key[:20]
        return self.network.te_multiplier if is_text else self.network.unet_multiplier

    def calc_scale(self) -> float:
        """Returns what the change is multiplied by apart from the strength."""
        return self.adapter.scale

    def calc_updown(self, target: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Returns what is added to weight and bias of a layer with the weight `target`, strength included."""
        return self.adapter.delta(target.to(torch.float32), self.multiplier(), self.network.dyn_dim)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Returns the output y of the layer for input x with what the network adds to it."""
        weight = self.sd_module.weight
        return y + self.adapter.output(operation_of(self.sd_module), x, weight, self.multiplier())


class ModuleType:
    """A kind of network. kinds: as `modules.adapters` calls it; module: what is made of its tensors."""

    kinds: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[type[NetworkModule]] = NetworkModule

    def create_module(self, net: Network, weights: NetworkWeights) -> NetworkModule | None:
        """Returns what a network holds for a layer, None if it is of another kind."""
        try:
            adapter = adapters.read(weights.w)
        except adapters.AdapterError:
            return None
        return self.module(net, weights, adapter) if adapter.kind in self.kinds else None
