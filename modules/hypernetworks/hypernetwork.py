"""engine: hypernetworks: reads their files, and lets them change what attention makes its keys and values of.

They are applied through hooks on those layers, so taking the hooks away restores the model. Training is not part of
this module.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modules import devices, errors, hashes, safe, shared, shared_items, util, whole_files

logger = logging.getLogger(__name__)

DEFAULT_STRUCTURE = (1, 2, 1)

WEIGHT_INITS: dict[str, Callable[[torch.Tensor], Any]] = {
    "Normal": partial(nn.init.normal_, std=0.01),
    "XavierUniform": nn.init.xavier_uniform_,
    "XavierNormal": nn.init.xavier_normal_,
    "KaimingUniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "KaimingNormal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
}
"""What gives the weights of new linear layers their values."""

PROJECTIONS = ("to_k", "to_v")
"""The layers of an attention block whose input a hypernetwork changes, in the order of its modules."""


IS_TRANSFORMED = "is_transformed_by_hypernetworks"
"""Attribute of contexts that went through hypernetworks already."""


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

    state_dict: its weights; without them it gets those that training starts with (weight_init). layer_structure: widths
    between the linear layers of f in multiples of dim, from 1 to 1. activation_func: key of activation_dict, "linear"
    or None for no function; it comes after every linear layer but the last, with activate_output after that too.
    dropout_structure: for each entry of layer_structure the dropout of training; it has no effect here but takes part
    in numbering the parameters.
    """

    activation_dict: dict[str, Callable[[], nn.Module]] = {
        "linear": nn.Identity,
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
        state_dict: dict[str, torch.Tensor] | None = None,
        layer_structure: Sequence[float] | None = None,
        activation_func: str | None = None,
        weight_init: str = "Normal",
        add_layer_norm: bool = False,
        activate_output: bool = False,
        dropout_structure: Sequence[float] | None = None,
    ):
        super().__init__()
        self.multiplier = 1.0
        widths = [int(dim * factor) for factor in layer_structure or DEFAULT_STRUCTURE]
        with torch.device(devices.device if state_dict is None else "meta"):
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
        if state_dict is None:
            self._start(weight_init)
        else:
            self.load_state_dict(self.fix_old_state_dict(state_dict), assign=True)
            self.to(devices.device, torch.float32)
        self.requires_grad_(False)

    def _start(self, weight_init: str) -> None:
        """Gives the layers the values that training starts with."""
        for layer in self.linear:
            if isinstance(layer, (nn.Linear, nn.LayerNorm)):
                WEIGHT_INITS[weight_init if isinstance(layer, nn.Linear) else "Normal"](layer.weight)
                nn.init.zeros_(layer.bias)

    def _activation(self, name: str) -> nn.Module:
        if name not in self.activation_dict:
            raise errors.ModelLoadError(f'it uses an unknown activation function "{name}"')
        return self.activation_dict[name]()

    @staticmethod
    def fix_old_state_dict(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Returns parameters under their present names: the first files had two layers, linear1 and linear2."""
        return {
            key.replace("linear1.", "linear.0.").replace("linear2.", "linear.1."): value
            for key, value in state_dict.items()
        }

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns x with what the network makes of it added, at the strength that was set."""
        return x + self.linear(x) * (1.0 if self.training else self.multiplier)

    def trainables(self) -> list[nn.Parameter]:
        """Returns weights and biases of its linear layers and norms."""
        layers = [layer for layer in self.linear if isinstance(layer, (nn.Linear, nn.LayerNorm))]
        return [parameter for layer in layers for parameter in (layer.weight, layer.bias)]


def parse_dropout_structure(
    layer_structure: Sequence[float] | None, use_dropout: bool, last_layer_dropout: bool
) -> list[float]:
    """Returns the dropout of files that do not tell: with use_dropout 0.3 inside, also last if last_layer_dropout."""
    length = len(layer_structure or DEFAULT_STRUCTURE)
    dropout = [0.0] * length
    if use_dropout:
        inner = range(1, length - (1 if last_layer_dropout else 2))
        for i in inner:
            dropout[i] = 0.3
    return dropout


class Hypernetwork:
    """A hypernetwork file. layers: width of the context -> its modules for keys and for values.

    enable_sizes: widths for which it gets new modules. The other arguments are those of its modules.
    """

    filename: str | None = None
    name: str | None = None

    def __init__(
        self,
        name: str | None = None,
        enable_sizes: Sequence[int] | None = None,
        layer_structure: Sequence[float] | None = None,
        activation_func: str | None = None,
        weight_init: str | None = None,
        add_layer_norm: bool = False,
        use_dropout: bool = False,
        activate_output: bool = False,
        **kwargs: Any,
    ):
        self.name = name
        self.layers: dict[int, tuple[HypernetworkModule, HypernetworkModule]] = {}
        self.step = 0
        self.sd_checkpoint: str | None = None
        self.sd_checkpoint_name: str | None = None
        self.layer_structure = layer_structure
        self.activation_func = activation_func
        self.weight_init = weight_init
        self.add_layer_norm = add_layer_norm
        self.use_dropout = use_dropout
        self.activate_output = activate_output
        self.last_layer_dropout: bool = kwargs.get("last_layer_dropout", True)
        self.dropout_structure: Sequence[float] | None = kwargs.get("dropout_structure")
        self.optional_info: str | None = None
        self.optimizer_name: str | None = None
        self.optimizer_state_dict: dict[str, Any] | None = None
        self.stamp: tuple[int, int] | None = None
        if self.dropout_structure is None:
            self._derive_dropout()
        for size in enable_sizes or ():
            self.layers[int(size)] = (self._module(int(size)), self._module(int(size)))
        self.eval()

    def save(self, filename: str) -> None:
        """Writes a file that `load` reads."""
        content: dict[Any, Any] = {
            "step": self.step,
            "name": self.name,
            "layer_structure": self.layer_structure,
            "activation_func": self.activation_func,
            "is_layer_norm": self.add_layer_norm,
            "weight_initialization": self.weight_init,
            "sd_checkpoint": self.sd_checkpoint,
            "sd_checkpoint_name": self.sd_checkpoint_name,
            "activate_output": self.activate_output,
            "use_dropout": self.use_dropout,
            "dropout_structure": self.dropout_structure,
            "last_layer_dropout": (self.dropout_structure or [0, 0])[-2] != 0,
            "optional_info": self.optional_info or None,
        }
        for size, (keys, values) in self.layers.items():
            content[size] = (keys.state_dict(), values.state_dict())
        with whole_files.replacing(filename, whole_files.unfinished_name(filename)) as file:
            torch.save(content, file)

    def load(self, filename: str) -> None:
        """Reads a file. Raises ModelLoadError if it holds no hypernetwork, or is damaged."""
        self.stamp = util.FileStamp.of(filename)
        data = safe.load(filename, map_location="cpu")
        states = {size: pair for size, pair in data.items() if isinstance(size, int)} if isinstance(data, dict) else {}
        if not states:
            raise errors.ModelLoadError(f"{filename} is not a hypernetwork: it has no layers for any width")
        self.filename = filename
        self.name = data.get("name") or self.name or Path(filename).stem
        try:
            self._read_description(data)
            self.layers = {
                size: (self._module(size, keys), self._module(size, values)) for size, (keys, values) in states.items()
            }
        except errors.ModelLoadError as e:
            raise errors.ModelLoadError(f"{filename} is not loaded: {e}") from e
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as e:
            reason = " ".join(str(e).split())
            raise errors.ModelLoadError(f"{filename} is damaged, its weights are not as it says: {reason}") from e
        self.eval()
        if HypernetworkSettings.from_opts(shared.opts).print_shapes:
            logger.info("hypernetwork %s: %s", self.name, self.describe())

    def _read_description(self, data: dict[Any, Any]) -> None:
        self.step = data.get("step", 0)
        self.sd_checkpoint = data.get("sd_checkpoint")
        self.sd_checkpoint_name = data.get("sd_checkpoint_name")
        self.layer_structure = data.get("layer_structure", DEFAULT_STRUCTURE)
        self.activation_func = data.get("activation_func")
        self.weight_init = data.get("weight_initialization", "Normal")
        self.add_layer_norm = data.get("is_layer_norm", False)
        self.activate_output = data.get("activate_output", True)
        self.last_layer_dropout = data.get("last_layer_dropout", False)
        self.optional_info = data.get("optional_info")
        self.dropout_structure = data.get("dropout_structure")
        self.use_dropout = any(self.dropout_structure or ()) or data.get("use_dropout", False)
        if self.dropout_structure is None:
            self._derive_dropout()

    def _derive_dropout(self) -> None:
        self.dropout_structure = parse_dropout_structure(
            self.layer_structure, self.use_dropout, self.last_layer_dropout
        )

    def _module(self, size: int, state_dict: dict[str, torch.Tensor] | None = None) -> HypernetworkModule:
        return HypernetworkModule(
            size,
            state_dict,
            self.layer_structure,
            self.activation_func,
            self.weight_init or "Normal",
            self.add_layer_norm,
            self.activate_output,
            self.dropout_structure,
        )

    def describe(self) -> str:
        """Returns the shape of its networks, for the log."""
        structure = list(self.layer_structure or DEFAULT_STRUCTURE)
        return (
            f"sizes {sorted(self.layers)}, structure {structure}, activation {self.activation_func}, "
            f"layer norm {self.add_layer_norm}, activate output {self.activate_output}, step {self.step}"
        )

    def modules(self) -> Iterator[HypernetworkModule]:
        """Yields all networks."""
        for pair in self.layers.values():
            yield from pair

    def weights(self) -> list[nn.Parameter]:
        """Returns weights and biases of all networks."""
        return [parameter for module in self.modules() for parameter in module.trainables()]

    def to(self, device: torch.device) -> Hypernetwork:
        """Moves all networks to a device."""
        for module in self.modules():
            module.to(device)
        return self

    def train(self, mode: bool = True) -> None:
        """Has all networks compute as training wants it, with dropout and at full strength, or not."""
        for module in self.modules():
            module.train(mode)

    def eval(self) -> None:
        """Has all networks compute without dropout."""
        self.train(False)

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
    files = sorted((file for file in shared.walk_files(path, (".pt",)) if os.path.isfile(file)), key=str.lower)
    names = {Path(file).stem: file for file in files if Path(file).stem != "None"}
    return {name: file for name, file in names.items() if is_text(name)}


def is_text(name: str) -> bool:
    """Says whether a file's name is text, and can be sent and shown. Logs those that are not."""
    if name == util.sendable(name):
        return True
    logger.warning("the hypernetwork %r is left out: its name is no text", name)
    return False


def reload_hypernetworks() -> None:
    """Lists the directory of hypernetworks anew in `shared.hypernetworks`."""
    found = list_hypernetworks(shared.cmd_opts.hypernetwork_dir)
    shared.hypernetworks.clear()
    shared.hypernetworks.update(found)


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


def is_current(hypernetwork: Hypernetwork) -> bool:
    """Says whether a loaded hypernetwork is what its file holds now."""
    try:
        return util.FileStamp.of(shared.hypernetworks[hypernetwork.name]) == hypernetwork.stamp
    except (OSError, KeyError):
        return True  # as long as the file is away


def load_hypernetworks(names: Sequence[str], multipliers: Sequence[float] | None = None) -> None:
    """Makes `shared.loaded_hypernetworks` the named ones, with their strengths; loaded ones are not read again.

    The directory is listed anew when a name is not known.
    """
    if any(name not in shared.hypernetworks for name in names):
        reload_hypernetworks()
    available = [loaded for loaded in shared.loaded_hypernetworks if is_current(loaded)]
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
            chain = modules_for(hypernetworks, getattr(projection, "in_features", None), index)
            if chain:
                handles.append(projection.register_forward_pre_hook(partial(transformed_input, chain)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def fits(hypernetwork: Hypernetwork, denoiser: nn.Module) -> bool:
    """Says whether a denoiser has an attention layer of a width that a hypernetwork is for."""
    projections = (getattr(block, name, None) for block in denoiser.modules() for name in PROJECTIONS)
    return any(getattr(projection, "in_features", None) in hypernetwork.layers for projection in projections)


def modules_for(hypernetworks: Sequence[Hypernetwork], width: int | None, index: int) -> list[HypernetworkModule]:
    """Returns the networks for a width of context; index: of the layer in PROJECTIONS."""
    return [hypernetwork.layers[width][index] for hypernetwork in hypernetworks if width in hypernetwork.layers]


def transformed_input(
    chain: Sequence[HypernetworkModule], layer: nn.Module, args: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    """Sends a layer's input (B, tokens, width) through modules, as a forward pre-hook."""
    context, *others = args
    return args if getattr(context, IS_TRANSFORMED, False) else (transformed(chain, context), *others)


def transformed(chain: Sequence[HypernetworkModule], context: torch.Tensor) -> torch.Tensor:
    """Sends a context through modules, in float32."""
    changed = context.float()
    for module in chain:
        if module.linear[0].weight.device != context.device:  # the U-Net computes on a device of its own
            module.to(context.device)
        changed = module(changed)
    return changed.to(context.dtype)


def apply_single_hypernetwork(
    hypernetwork: Hypernetwork, context_k: torch.Tensor, context_v: torch.Tensor, layer: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what a hypernetwork makes of the contexts for keys and for values.

    For attention of extensions: `applied` does the same to layers that are called, and leaves these contexts alone.
    """
    results = []
    for index, context in enumerate((context_k, context_v)):
        chain = modules_for([hypernetwork], context.shape[-1], index)
        result = transformed(chain, context) if chain else context
        if chain:
            setattr(result, IS_TRANSFORMED, True)
        results.append(result)
    if layer is not None and context_k.shape[-1] in hypernetwork.layers:
        layer.hyper_k, layer.hyper_v = hypernetwork.layers[context_k.shape[-1]]
    return results[0], results[1]


def apply_hypernetworks(
    hypernetworks: Sequence[Hypernetwork], context: torch.Tensor, layer: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what hypernetworks, one after the other, make of a context (B, tokens, width): for keys, for values."""
    context_k = context_v = context
    for hypernetwork in hypernetworks:
        context_k, context_v = apply_single_hypernetwork(hypernetwork, context_k, context_v, layer)
    return context_k, context_v


shared_items.register("hypernetworks", lambda: list(shared.hypernetworks), reload_hypernetworks)
