"""engine: OpenVINO: networks on a CPU, by the optional package openvino.

A network is converted once: what is kept in the data directory has the weights as inputs, so that it is small, and the
same for all checkpoints of its shapes. It is compiled for each size of its inputs, with the weights of the loaded
network as constants: OpenVINO lays these out for the processor, and joins operations whose sizes it knows. Where a
weight has changed since, that is done anew. For the sizes that were last used, it can be done before the first call.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modules import cache, cpu_layers, devices
from modules.backends.base import Unavailable
from modules.untouched import layers_of

logger = logging.getLogger(__name__)

SIDE = 16
"""Height and width of the maps by which a network is traced; what is traced takes any."""

FORMAT = 1
"""Of what is kept; a new one makes the program convert again."""

MOST_SIZES = 4
"""Sizes of its inputs for which a network is kept compiled, as long as memory has room for that."""

FREE_FACTOR = 2
"""Free memory of which another compiled network may take one part."""

RECENT_CALLS = 50
"""Calls whose sizes are remembered: several jobs, or one that calls the network in different ways."""

ANY: tuple[Any, ...] = ()
"""In the place of sizes: whatever they are."""


class Arguments:
    """The tensors among the arguments of a call, in order, and how to call a network with others in their place."""

    def __init__(self, args: Sequence[Any], kwargs: dict[str, Any]):
        given = [*enumerate(args), *kwargs.items()]
        self.places = [place for place, value in given if isinstance(value, torch.Tensor)]
        self.tensors = [value.detach() for _, value in given if isinstance(value, torch.Tensor)]
        self.others = {place: value for place, value in given if not isinstance(value, torch.Tensor)}
        self.count = len(args)

    @property
    def layout(self) -> tuple[Any, ...]:
        """What a conversion depends on: which tensors there are, of how many axes, and what is no tensor."""
        shapes = tuple((place, tensor.ndim) for place, tensor in zip(self.places, self.tensors, strict=True))
        return (*shapes, *sorted((str(place), str(value)) for place, value in self.others.items()))

    @property
    def sizes(self) -> tuple[Any, ...]:
        """The shapes of the tensors."""
        return tuple(tuple(tensor.shape) for tensor in self.tensors)

    def examples(self) -> list[torch.Tensor]:
        """Returns tensors as these of the size for tracing: two rows, small maps."""
        rows = [tensor[:1].expand(2, *tensor.shape[1:]) for tensor in self.tensors]
        sized = [row.new_zeros(*row.shape[:2], SIDE, SIDE) if row.ndim == 4 else row for row in rows]
        return [tensor.clone() for tensor in sized]

    def call(self, network: nn.Module, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """Calls a network with other tensors."""
        given = {**self.others, **dict(zip(self.places, tensors, strict=True))}
        args = [given.pop(number) for number in range(self.count)]
        output = network(*args, **given)
        return output if isinstance(output, torch.Tensor) else output[0]


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """Returns all parameters and buffers of a network by name, each once."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def state_of(network: nn.Module) -> list[tuple[int, int]]:
    """Returns, for each weight of a network, where it is and how often it was written."""
    return [
        (weight.data_ptr(), weight._version)
        for layer in layers_of(network)
        for weight in (*layer._parameters.values(), *layer._buffers.values())
        if weight is not None
    ]


@contextlib.contextmanager
def with_weights(network: nn.Module, weights: dict[str, torch.Tensor]) -> Iterator[None]:
    """Has a network compute with other tensors in the place of its weights, inside the block."""
    own = []
    for name in weights:
        owner, _, leaf = name.rpartition(".")
        layer = network.get_submodule(owner)
        holder = layer._parameters if leaf in layer._parameters else layer._buffers
        own.append((holder, leaf, holder[leaf]))
    try:
        for (holder, leaf, _), weight in zip(own, weights.values(), strict=True):
            holder[leaf] = weight
        yield
    finally:
        for holder, leaf, weight in own:
            holder[leaf] = weight


def convert(network: nn.Module, arguments: Arguments) -> Any:
    """Returns what OpenVINO makes of a network: a model whose inputs are its weights, and behind them its inputs."""
    import openvino

    names = list(weights_of(network))

    def function(*tensors: torch.Tensor) -> torch.Tensor:
        """Calls the network with weights and inputs that are given."""
        with with_weights(network, dict(zip(names, tensors[: len(names)], strict=True))):
            return arguments.call(network, tensors[len(names) :])

    examples = (*(weight.detach() for weight in weights_of(network).values()), *arguments.examples())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is fixed by tracing: the sizes that are not are tested
        traced = torch.jit.trace(function, examples, check_trace=False)
        return openvino.convert_model(traced, example_input=examples)


def key_of(network: nn.Module, layout: tuple[Any, ...]) -> str:
    """Returns a name for the conversion of a network: of the code that it runs, its shapes, and the versions."""
    import openvino

    code = hashlib.sha256()
    files = {inspect.getfile(type(layer)) for layer in network.modules()}
    for file in sorted(files | {inspect.getfile(Arguments)}):
        code.update(Path(file).read_bytes())
    shapes = {name: list(weight.shape) for name, weight in weights_of(network).items()}
    config = dict(getattr(getattr(network, "unet", network), "config", {}))
    settings = {name: str(value) for name, value in config.items() if not name.startswith("_")}
    facts = [FORMAT, openvino.__version__, torch.__version__, code.hexdigest(), shapes, settings, str(layout)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def kept_as(network: nn.Module, layout: tuple[Any, ...]) -> Path:
    """Returns the folder of a conversion."""
    return Path(cache.cache_dir) / "openvino" / key_of(network, layout)


def read(kept: Path) -> Any:
    """Returns the conversion in a folder, None if there is none."""
    import openvino

    if not kept.exists():
        return None
    try:
        return openvino.Core().read_model(kept / "model.xml")
    except RuntimeError as e:
        logger.warning("%s is damaged and made anew: %s", kept, str(e).strip().partition("\n")[0])
        shutil.rmtree(kept, ignore_errors=True)
        return None


def converted(network: nn.Module, arguments: Arguments) -> Any:
    """Returns the conversion of a network, from the data directory if it is there. Raises Unavailable."""
    import openvino

    kept = kept_as(network, arguments.layout)
    if (model := read(kept)) is not None:
        return model
    logger.info("OpenVINO: converting %s, once for all checkpoints of its shapes", type(network).__name__)
    try:
        model = convert(network, arguments)
    except Exception as e:  # whatever its authors have not thought of: the image is made all the same
        logger.debug("OpenVINO: %s cannot be converted", type(network).__name__, exc_info=True)
        raise Unavailable(f"{type(network).__name__} cannot be converted: {e}") from e
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as unfinished:
            openvino.save_model(model, Path(unfinished) / "model" / "model.xml", compress_to_fp16=False)
            if not kept.exists():
                os.rename(Path(unfinished) / "model", kept)
    except (OSError, RuntimeError) as e:
        logger.warning("OpenVINO: what was converted cannot be kept: %s", e)
    return model


def filled(model: Any, weights: Sequence[torch.Tensor], sizes: tuple[Any, ...]) -> Any:
    """Returns a conversion with these weights in the place of its first inputs, for inputs of these sizes or ANY; the
    memory of the weights stays theirs.
    """
    from openvino import opset13

    model = model.clone()
    for parameter, weight in zip(model.get_parameters()[: len(weights)], weights, strict=True):
        constant = opset13.constant(weight.detach().contiguous().numpy(), shared_memory=True)
        parameter.output(0).replace(constant.output(0))
        model.remove_parameter(parameter)
    if sizes == ANY:
        model.validate_nodes_and_infer_types()
    else:
        model.reshape({place: list(size) for place, size in zip(model.inputs, sizes, strict=True)})
    return model


def as_tuples(value: Any) -> Any:
    """Returns a value of JSON with tuples in the place of lists."""
    return tuple(as_tuples(part) for part in value) if isinstance(value, list) else value


class RecentCalls:
    """How networks of certain shapes were last called, remembered from one start of the program to the next.

    key: of the shapes.
    """

    def __init__(self, key: str):
        self.key = key
        self._kept = list(self.read())
        self._count = len(self._kept)
        self._last = {call: number for number, call in enumerate(self._kept, 1)}

    def note(self, call: tuple[Any, ...]) -> None:
        """Notes a call, as its layout and its sizes. A new order is written down where it changes which are the last
        MOST_SIZES, or where the call is repeated: calls of two sizes that alternate are not worth a write each.
        """
        is_repeated = call in list(self._last)[-1:]
        self._last.pop(call, None)
        self._count += 1
        self._last[call] = self._count
        self._last = {call: at for call, at in self._last.items() if at > self._count - RECENT_CALLS}
        calls = list(self._last)
        is_other = set(calls[-MOST_SIZES:]) != set(self._kept[-MOST_SIZES:])
        if is_other or (is_repeated and calls != self._kept):
            cache.cache("openvino-calls")[self.key] = self._kept = calls

    def read(self) -> tuple[Any, ...]:
        """Returns the different ones, the last call at the end."""
        return as_tuples(cache.cache("openvino-calls").get(self.key, []))


class OpenVinoNetwork:
    """A network that OpenVINO computes in float32.

    Kept beside it are one conversion for each way it is called, and what is compiled of them with its weights. Where
    memory has no room for a second one of these, one is kept for all sizes, which is slower.
    """

    title = "OpenVINO"

    def __init__(self, network: nn.Module):
        self.network = network
        self.recent = RecentCalls(key_of(network, ANY))
        self.conversions: dict[tuple[Any, ...], Any] = {}
        self.compiled: dict[tuple[Any, ...], Any] = {}
        self.state: list[tuple[int, int]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Returns what the network makes of its arguments, (B, C, h, w) for latents of that size that come first.

        Raises Unavailable, and RuntimeError for what OpenVINO cannot do.
        """
        arguments = Arguments(args, kwargs)
        call = (arguments.layout, arguments.sizes)
        self._follow_weights()
        compiled = self._found(*call) or self._compile_anew(arguments)
        given = [tensor.contiguous().numpy() for tensor in arguments.tensors]
        output = torch.from_numpy(compiled(given)[0])
        first = arguments.tensors[0]
        if (len(output), output.shape[2:]) != (len(first), first.shape[2:]):  # it does not look at sizes by itself
            raise Unavailable(f"it gives {tuple(output.shape)} for {tuple(first.shape)}")
        self.recent.note(call)
        return output

    def prepare(self) -> Iterator[None]:
        """Compiles for the sizes that a network of these shapes was last called with, the last first, for one of them
        before each yield, as far as memory has room and until what was compiled is dropped. Raises Unavailable, or
        RuntimeError.
        """
        self._check_types()
        self._follow_weights()
        for layout, sizes in reversed(self.recent.read()[-MOST_SIZES:]):
            if layout not in self.conversions and (model := read(kept_as(self.network, layout))) is not None:
                self.conversions[layout] = model
            is_wanted = layout in self.conversions and self._found(layout, sizes) is None
            if is_wanted and (not self.compiled or (len(self.compiled) < MOST_SIZES and self._has_room())):
                self._compile(layout, sizes)
            yield
            self._follow_weights()
            if not self.compiled:
                return
        for call in self.recent.read():
            self._found(*call)  # which puts them into the order of their use

    def _follow_weights(self) -> None:
        """Drops what is compiled of weights that have changed."""
        state = state_of(self.network)
        if state != self.state:
            self.compiled.clear()
            self.state = state

    def _found(self, layout: tuple[Any, ...], sizes: tuple[Any, ...]) -> Any:
        """Returns what is compiled for a call, None if there is nothing. What was used last is the last in order."""
        for key in ((layout, sizes), (layout, ANY)):
            compiled = self.compiled.pop(key, None)
            if compiled is not None:
                self.compiled[key] = compiled
                return compiled
        return None

    def _compile_anew(self, arguments: Arguments) -> Any:
        """Returns what is now compiled for a call, converted before where it has to be."""
        self._check_types()
        if arguments.layout not in self.conversions:
            self.conversions[arguments.layout] = converted(self.network, arguments)
        return self._compile(arguments.layout, self._make_room(arguments.sizes))

    def _compile(self, layout: tuple[Any, ...], sizes: tuple[Any, ...]) -> Any:
        """Returns what is now compiled of a conversion for these sizes or ANY, and keeps it."""
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": cpu_layers.threads,
            "ENABLE_CPU_PINNING": False,  # which would be slow where others compute too
        }
        model = filled(self.conversions[layout], list(weights_of(self.network).values()), sizes)
        kept = self.compiled  # it may be dropped meanwhile
        compiled = kept[layout, sizes] = openvino.Core().compile_model(model, "CPU", settings)
        return compiled

    def _check_types(self) -> None:
        """Raises Unavailable for weights that would not be computed in their own type, or are not in main memory."""
        weights = weights_of(self.network).values()
        if elsewhere := {weight.device.type for weight in weights} - {"cpu"}:
            raise Unavailable(f"the weights are on {', '.join(sorted(elsewhere))}, and it computes on the processor")
        kinds = {str(weight.dtype) for weight in weights} - {"torch.float32", "torch.int64"}
        if kinds:
            raise Unavailable(f"the weights are in {', '.join(sorted(kinds))}, and here it computes in torch.float32")

    def _has_room(self) -> bool:
        """Says whether there is memory for another one that is compiled."""
        needed = sum(weight.nbytes for weight in weights_of(self.network).values())
        return devices.free_memory(devices.cpu) >= FREE_FACTOR * needed

    def _make_room(self, sizes: tuple[Any, ...]) -> tuple[Any, ...]:
        """Drops what is compiled as far as another one needs the memory. Returns the sizes to compile for."""
        if not self.compiled:
            return sizes
        if not self._has_room():
            self.compiled.clear()  # calls of two sizes may alternate
            return ANY
        if len(self.compiled) >= MOST_SIZES:
            del self.compiled[next(iter(self.compiled))]
        return sizes

    def forget(self) -> None:
        """Drops what is compiled, the weights in another form; conversions have none."""
        self.compiled = {}

    def left_out(self) -> AbstractContextManager[Any]:
        """Nothing has to be done: the network is as it was."""
        return contextlib.nullcontext()


class OpenVino:
    """Computes networks by the package openvino."""

    def __init__(self) -> None:
        sys.modules.setdefault("openvino_telemetry", None)  # which would report to its maker that it is used
        try:
            import openvino
        except ImportError as e:
            raise Unavailable(f"the package openvino is not installed: pip install openvino ({e})") from e
        self.version = openvino.__version__

    def compile(self, network: nn.Module) -> OpenVinoNetwork:
        """Prepares a network; it is converted at its first call."""
        return OpenVinoNetwork(network)
