"""engine: hypernetworks: reads their files, and lets them change what attention makes its keys and values of.

They are applied through hooks on those layers, so taking the hooks away restores the model. Training is not part of
this module.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modules import devices, errors, hashes, safe, shared, shared_items

logger = logging.getLogger(__name__)

PROJECTIONS = ("to_k", "to_v")
"""The layers of an attention block whose input a hypernetwork changes, in the order of its modules."""


@dataclass(frozen=True)
class HypernetworkSettings:
    """What is logged. print_shapes: the shape of the networks of each file that is loaded."""

    print_shapes: bool

    @classmethod
    def from_opts(cls, opts: Any) -> HypernetworkSettings:
        """Returns what the settings say."""
        return cls(print_shapes=opts.print_hypernet_extra)


class HypernetworkModule(nn.Module):
    """x -> x + f(x) * multiplier with a small network f; (..., dim) -> (..., dim).

    layer_structure: widths between the linear layers of f in multiples of dim, from 1 to 1. activation_func: key of
    activation_dict, "linear" or None for no function; it comes after every linear layer but the last, with
    activate_output after that too. dropout_structure: for each entry of layer_structure the dropout of training; it
    has no effect here but takes part in numbering the parameters.
    """

    activation_dict: dict[str, Callable[[], nn.Module]] = {
        **{
            name.lower(): function
            for name, function in inspect.getmembers(nn.modules.activation, inspect.isclass)
            if function.__module__ == nn.modules.activation.__name__
        },
        "swish": nn.Hardswish,
    }

    def __init__(
        self,
        dim: int,
        state_dict: dict[str, torch.Tensor],
        layer_structure: Sequence[float] = (1, 2, 1),
        activation_func: str | None = None,
        add_layer_norm: bool = False,
        activate_output: bool = False,
        dropout_structure: Sequence[float] | None = None,
    ):
        super().__init__()
        self.multiplier = 1.0
        widths = [int(dim * factor) for factor in layer_structure]
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False), start=1):
            layers.append(nn.Linear(inputs, outputs))
            if activation_func not in ("linear", None) and (i < len(widths) - 1 or activate_output):
                layers.append(self._activation(activation_func))
            if add_layer_norm:
                layers.append(nn.LayerNorm(outputs))
            if dropout_structure is not None and dropout_structure[i] > 0:
                layers.append(nn.Dropout(dropout_structure[i]))
        self.linear = nn.Sequential(*layers)
        self.load_state_dict(fix_old_state_dict(state_dict))
        self.to(devices.device)

    def _activation(self, name: str) -> nn.Module:
        if name not in self.activation_dict:
            raise errors.ModelLoadError(f'the hypernetwork uses an unknown activation function "{name}"')
        return self.activation_dict[name]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns x with what the network makes of it added, at the strength that was set."""
        return x + self.linear(x) * (1.0 if self.training else self.multiplier)


def fix_old_state_dict(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters under their present names: the first files had two layers, linear1 and linear2."""
    return {
        key.replace("linear1.", "linear.0.").replace("linear2.", "linear.1."): value
        for key, value in state_dict.items()
    }


def parse_dropout_structure(
    layer_structure: Sequence[float], use_dropout: bool, last_layer_dropout: bool
) -> list[float]:
    """Returns the dropout of files that do not tell: with use_dropout 0.3 inside, also last if last_layer_dropout."""
    dropout = [0.0] * len(layer_structure)
    if use_dropout:
        inner = range(1, len(layer_structure) - (1 if last_layer_dropout else 2))
        for i in inner:
            dropout[i] = 0.3
    return dropout


class Hypernetwork:
    """A hypernetwork file. layers: width of the context -> its modules for keys and for values."""

    def __init__(self, name: str | None = None):
        self.name = name
        self.filename: str | None = None
        self.layers: dict[int, tuple[HypernetworkModule, HypernetworkModule]] = {}
        self.step = 0
        self.sd_checkpoint: str | None = None
        self.sd_checkpoint_name: str | None = None
        self.layer_structure: Sequence[float] = (1, 2, 1)
        self.activation_func: str | None = None
        self.weight_init: str | None = None
        self.add_layer_norm = False
        self.use_dropout = False
        self.activate_output = True
        self.last_layer_dropout = False
        self.dropout_structure: Sequence[float] | None = None
        self.optional_info: str | None = None

    def load(self, filename: str) -> None:
        """Reads a file. Raises ModelLoadError if it holds no hypernetwork."""
        data = safe.load(filename, map_location="cpu")
        states = {size: pair for size, pair in data.items() if isinstance(size, int)} if isinstance(data, dict) else {}
        if not states:
            raise errors.ModelLoadError(f"{filename} is not a hypernetwork: it has no layers for any width")
        self.filename = filename
        self.name = data.get("name") or self.name or Path(filename).stem
        self._read_description(data)
        self.layers = {
            size: (self._module(size, keys), self._module(size, values)) for size, (keys, values) in states.items()
        }
        self.eval()
        if HypernetworkSettings.from_opts(shared.opts).print_shapes:
            logger.info("hypernetwork %s: %s", self.name, self.describe())

    def _read_description(self, data: dict[Any, Any]) -> None:
        self.step = data.get("step", 0)
        self.sd_checkpoint = data.get("sd_checkpoint")
        self.sd_checkpoint_name = data.get("sd_checkpoint_name")
        self.layer_structure = data.get("layer_structure", (1, 2, 1))
        self.activation_func = data.get("activation_func")
        self.weight_init = data.get("weight_initialization", "Normal")
        self.add_layer_norm = data.get("is_layer_norm", False)
        self.activate_output = data.get("activate_output", True)
        self.last_layer_dropout = data.get("last_layer_dropout", False)
        self.optional_info = data.get("optional_info")
        self.dropout_structure = data.get("dropout_structure")
        self.use_dropout = any(self.dropout_structure or ()) or data.get("use_dropout", False)
        if self.dropout_structure is None:
            self.dropout_structure = parse_dropout_structure(
                self.layer_structure, self.use_dropout, self.last_layer_dropout
            )

    def _module(self, size: int, state_dict: dict[str, torch.Tensor]) -> HypernetworkModule:
        return HypernetworkModule(
            size,
            state_dict,
            self.layer_structure,
            self.activation_func,
            self.add_layer_norm,
            self.activate_output,
            self.dropout_structure,
        )

    def describe(self) -> str:
        """Returns the shape of its networks, for the log."""
        return (
            f"sizes {sorted(self.layers)}, structure {list(self.layer_structure)}, activation {self.activation_func}, "
            f"layer norm {self.add_layer_norm}, activate output {self.activate_output}, step {self.step}"
        )

    def modules(self) -> Iterator[HypernetworkModule]:
        """Yields all networks."""
        for pair in self.layers.values():
            yield from pair

    def to(self, device: torch.device) -> Hypernetwork:
        """Moves all networks to a device."""
        for module in self.modules():
            module.to(device)
        return self

    def eval(self) -> None:
        """Has all networks compute without dropout."""
        for module in self.modules():
            module.eval()

    def set_multiplier(self, multiplier: float) -> Hypernetwork:
        """Sets the strength of all networks."""
        for module in self.modules():
            module.multiplier = multiplier
        return self

    def shorthash(self) -> str | None:
        """Returns the first ten digits of the file's sha256, None if it is not known (--no-hashing)."""
        sha256 = hashes.sha256(self.filename, f"hypernet/{self.name}")
        return sha256[:10] if sha256 else None


def list_hypernetworks(path: str) -> dict[str, str]:
    """Returns name -> file of the hypernetworks under a directory, sorted by name; "None" cannot be a name."""
    files = sorted(Path(path).rglob("*.pt"), key=lambda file: str(file).lower())
    return {file.stem: str(file) for file in files if file.stem != "None"}


def reload_hypernetworks() -> None:
    """Lists the directory of hypernetworks anew in `shared.hypernetworks`."""
    shared.hypernetworks.clear()
    shared.hypernetworks.update(list_hypernetworks(shared.cmd_opts.hypernetwork_dir))


def load_hypernetwork(name: str) -> Hypernetwork | None:
    """Returns the hypernetwork of that name; None, with a message in the log, if it is missing or broken."""
    path = shared.hypernetworks.get(name)
    if path is None:
        logger.warning("hypernetwork not found: %s", name)
        return None
    hypernetwork = Hypernetwork()
    try:
        hypernetwork.load(path)
    except Exception as e:  # whatever is wrong with a user's file, the job goes on without it
        errors.report(f"Error loading hypernetwork {path}: {e}", exc_info=not isinstance(e, errors.WebuiError))
        return None
    hypernetwork.name = name
    return hypernetwork


def load_hypernetworks(names: Sequence[str], multipliers: Sequence[float] | None = None) -> None:
    """Makes `shared.loaded_hypernetworks` the named ones, with their strengths; loaded ones are not read again."""
    available = list(shared.loaded_hypernetworks)
    shared.loaded_hypernetworks.clear()
    for name, multiplier in zip(names, multipliers or [1.0] * len(names), strict=True):
        hypernetwork = next((loaded for loaded in available if loaded.name == name), None)
        if hypernetwork is not None:
            available.remove(hypernetwork)
        else:
            hypernetwork = load_hypernetwork(name)
        if hypernetwork is not None:
            shared.loaded_hypernetworks.append(hypernetwork.set_multiplier(multiplier))


@contextmanager
def applied(hypernetworks: Sequence[Hypernetwork], unet: nn.Module) -> Iterator[None]:
    """Sends the context of a diffusers U-Net's attention layers through hypernetworks, one after the other."""
    handles = []
    for block in unet.modules():
        for index, name in enumerate(PROJECTIONS):
            projection = getattr(block, name, None)
            width = getattr(projection, "in_features", None)
            chain = [
                hypernetwork.layers[width][index] for hypernetwork in hypernetworks if width in hypernetwork.layers
            ]
            if chain:
                handles.append(projection.register_forward_pre_hook(partial(transformed_input, chain)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def transformed_input(
    chain: Sequence[HypernetworkModule], layer: nn.Module, args: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    """Sends a layer's input (B, tokens, width) through modules, in float32, as a forward pre-hook."""
    context, *others = args
    changed = context.float()
    for module in chain:
        changed = module(changed)
    return (changed.to(context.dtype), *others)


shared_items.register("hypernetworks", lambda: list(shared.hypernetworks), reload_hypernetworks)
