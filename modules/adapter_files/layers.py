"""engine: the layers of a loaded model under every name that files of networks have for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from modules.adapter_files.file import NetworkFile
from modules.adapters import Adapter, Rows
from modules.model_families import DENOISER, Family
from modules.weight_patches import WeightPlace

Places = Mapping[str, tuple[WeightPlace, ...]]
"""Key of a weight in the single-file layout -> where it is in the networks."""


@dataclass(frozen=True, eq=False)
class ModelLayer:
    """A layer with weights.

    key: its name in the original single-file layout; of layers that are one weight there, with the name of their own.
    path: its name in the network that computes. is_text: whether it is a text encoder's.
    """

    key: str
    path: str
    is_text: bool
    weight: WeightPlace
    bias: WeightPlace | None

    @property
    def module(self) -> nn.Module:
        """The layer."""
        return self.weight.module

    @property
    def sd_key(self) -> str:
        """What v1.10.1 calls it."""
        return sd_key(self.key)


CONTAINERS = ("conditioner.embedders.", "cond_stage_model.", "text_encoders.", "model.")
"""What stands before the names of networks in a checkpoint."""

ENCODER_NUMBERS = {"clip_l": 1, "clip_g": 2, "t5xxl": 3}
"""How trainers number text encoders, also for models that have but one of them; the others by their place."""


@dataclass(frozen=True)
class Target:
    """What a file holds for a layer of a model. name: the layer's in the file."""

    name: str
    layer: ModelLayer
    adapter: Adapter


@dataclass(frozen=True)
class Matched:
    """What of a file is for a model. unknown: names of layers the model does not have."""

    targets: tuple[Target, ...]
    unknown: tuple[str, ...]


class LayerNames:
    """The layers of a model. Made while nothing is put around them; the names hold from then on.

    layers: all of them but those of the VAE, in the order of the checkpoint. turned: paths of those of the denoiser
    that have the halves of their rows the other way round under their original names.
    """

    def __init__(self, family: Family, networks: Mapping[str, nn.Module], places: Places, turned: Collection[str] = ()):
        self.turned = turned
        self.layers: list[ModelLayer] = []
        self.by_sd_key: dict[str, ModelLayer] = {}
        self._by_name: dict[str, tuple[ModelLayer, ...]] = {}
        encoders = [encoder.name for encoder in family.text_encoders]
        for name, prefix in family.prefixes.items():
            if name == DENOISER or (name in networks and name in encoders):
                own = {key: places[key] for key in places if key.startswith(prefix)}
                self._add(family, name, prefix, networks[name], own)

    def _add(self, family: Family, name: str, prefix: str, network: nn.Module, places: Places) -> None:
        paths = {module: path for path, module in network.named_modules()}
        biases = {place.module: place for found in places.values() for place in found if place.name == "bias"}
        for key, found in places.items():
            weights = [place for place in found if place.name == "weight"]
            if not weights:
                continue
            whole = layer_key(key)
            layers = tuple(
                ModelLayer(
                    key=whole if len(weights) == 1 else part_key(whole, paths[place.module]),
                    path=paths[place.module],
                    is_text=name != DENOISER,
                    weight=place,
                    bias=biases.get(place.module),
                )
                for place in weights
            )
            self.layers.extend(layers)
            for layer in layers:
                self.by_sd_key.setdefault(layer.sd_key, layer)
                self._name(
                    (layer.sd_key, layer.key, *spellings(family, name, layer.key[len(prefix) :], layer.path)), (layer,)
                )
            if len(layers) > 1:
                self._name((sd_key(whole), whole, *spellings(family, name, whole[len(prefix) :], None)), layers)

    def _name(self, names: Iterable[str], layers: tuple[ModelLayer, ...]) -> None:
        for name in names:
            self._by_name.setdefault(underscored(name), layers)

    def find(self, name: str) -> tuple[ModelLayer, ...]:
        """Returns the layers that a name in a file is for: one, none, or several that are one weight there."""
        return self._by_name.get(underscored(name), ())

    def match(self, file: NetworkFile) -> Matched:
        """Returns what of a file is for which layer. Raises AdapterError for what cannot be split among several."""
        targets: list[Target] = []
        unknown = []
        for name, adapter in file.layers.items():
            layers = self.find(name)
            if not layers:
                unknown.append(name)
            elif self._is_turned(name, layers[0]):
                adapter = turned_round(adapter, layers[0])
            targets.extend(split(name, adapter, layers))
        return Matched(tuple(targets), tuple(unknown))

    def _is_turned(self, name: str, layer: ModelLayer) -> bool:
        return layer.path in self.turned and not underscored(name).endswith(underscored(layer.path))


def turned_round(adapter: Adapter, layer: ModelLayer) -> Adapter:
    """Returns a network for a layer whose first half of rows is the second half of those it was made for."""
    total = layer.weight.stored.shape[0]
    return Rows.of(adapter, total // 2, total // 2 + total, total)


def split(name: str, adapter: Adapter, layers: tuple[ModelLayer, ...]) -> Iterator[Target]:
    """Yields what a network changes in each layer of those that it takes for one."""
    if len(layers) == 1:
        yield Target(name, layers[0], adapter)
        return
    total = sum(layer.weight.stored.shape[0] for layer in layers)
    start = 0
    for layer in layers:
        stop = start + layer.weight.stored.shape[0]
        yield Target(name, layer, Rows.of(adapter, start, stop, total))
        start = stop


def underscored(name: str) -> str:
    """Returns a name as it is compared: trainers write dots as underscores, or not."""
    return name.replace(".", "_")


def sd_key(key: str) -> str:
    """Returns what v1.10.1 calls the layer of a name in the single-file layout."""
    container = next((prefix for prefix in CONTAINERS if key.startswith(prefix)), "")
    return underscored(key.removeprefix(container))


def layer_key(key: str) -> str:
    """Returns the name of the layer in a weight's key."""
    return key.removesuffix(".weight").removesuffix("_weight")


def part_key(key: str, path: str) -> str:
    """Returns the name of one of several layers that share a weight: in_proj -> q_proj."""
    return f"{key.rpartition('.')[0]}.{path.rpartition('.')[2]}"


def spellings(family: Family, name: str, original: str, path: str | None) -> Iterator[str]:
    """Yields the names of a layer in files. original: its name in its network in a checkpoint; path: in ours."""
    if name == DENOISER:
        prefixes = DENOISER_PREFIXES
        paths = [original]
        if path is not None:  # diffusers has the same layers of SDXL under another name than those we need of it
            paths = [path, original, path.replace("class_embedding.", "add_embedding.")]
    else:
        prefixes = text_prefixes(family, name)
        paths = [original]
        if path is not None:
            path = path.removeprefix("transformer.")
            paths = [path, path.removeprefix("text_model."), original]  # transformers 5 has a level less
    return (prefix + path for prefix in prefixes for path in paths)


DENOISER_PREFIXES = (
    "lora_unet_",  # kohya's scripts, LyCORIS, OneTrainer
    "oft_unet_",  # kohya's scripts, OFT
    "lycoris_",  # LyCORIS by itself, SimpleTuner
    "unet.",  # diffusers, OneTrainer
    "transformer.",  # diffusers, where the denoiser is one
    "lora_transformer_",  # OneTrainer, the same
    "diffusion_model.",  # OneTrainer, ComfyUI
    "base_model.model.",  # folders of peft
    "",  # diffusers' network by itself, OneTrainer
)
"""What files put before the names of a denoiser's layers."""


def text_prefixes(family: Family, name: str) -> list[str]:
    """Returns what files put before the names of a text encoder's layers."""
    names = [encoder.name for encoder in family.text_encoders]
    number = ENCODER_NUMBERS.get(name, names.index(name) + 1)
    prefixes = [
        f"lora_te{number}_",  # kohya's scripts, LyCORIS, OneTrainer
        f"text_encoder_{number}." if number > 1 else "text_encoder.",  # diffusers
        f"text_encoders.{name}.",  # OneTrainer
        f"text_encoders.{name}.transformer.",  # ComfyUI
        f"{name}.",  # OneTrainer
    ]
    if len(names) == 1:
        prefixes += ["lora_te_", "lora_te1_", "lycoris_", "text_encoder.", "clip_l.", "base_model.model.", ""]
    return prefixes
