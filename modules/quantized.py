"""engine: weights stored in fewer bits than they mean: numbers with a scale beside them, and the blocks of GGUF.

Scales are multiplied in when a weight is loaded. Blocks stay as they are in linear layers, which widen them for each
call, and are widened when they are loaded everywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from modules.errors import ModelLoadError
from modules.sd_disable_initialization import InitializeOnMeta

if TYPE_CHECKING:
    from gguf import GGUFReader

StateDict = dict[str, torch.Tensor]

SCALES = (".scale_weight", ".weight_scale")
"""What stands in the place of ".weight" in the key of a weight's scale, by the two programs that began to write it."""

NOT_NEEDED = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
"""Ends of keys beside scales: those for inputs of layers that compute in 8 bits, and marks of the format."""

SCALED_TYPES = frozenset({torch.float8_e4m3fn, torch.float8_e5m2, torch.int8})
FORMATS = frozenset({"float8_e4m3fn", "float8_e5m2", "float8_e4m3fn_rowwise", "int8_tensorwise"})
"""Formats, as a layer's comfy_quant names them, whose weights are its numbers times its scale."""


def split_scales(what: str, tensors: StateDict) -> tuple[StateDict, StateDict]:
    """Returns the weights without what says how they are scaled, and the scales by the keys of their weights.

    A scale has the shape of its weight, without memory of that size. Raises ModelLoadError, which begins with `what`,
    for formats that are not known here.
    """
    if not any(key.endswith((*SCALES, *NOT_NEEDED)) for key in tensors):
        return tensors, {}
    check_formats(what, tensors)
    plain = {key: tensor for key, tensor in tensors.items() if not key.endswith((*SCALES, *NOT_NEEDED))}
    scales = {}
    for key, scale in tensors.items():
        end = next((end for end in SCALES if key.endswith(end)), None)
        if end is None:
            continue
        of = f"{key.removesuffix(end)}.weight"
        if of not in plain:
            continue
        if plain[of].dtype in SCALED_TYPES:
            scales[of] = spread(f"{what}: {key}", scale.float(), plain[of])
    return plain, scales


def renamed(what: str, tensors: StateDict, rename: Callable[[StateDict], StateDict]) -> StateDict:
    """Returns what `rename` makes of weights, which may join and turn their rows, with the scales of what it made.

    Raises ModelLoadError, which begins with `what`, for formats that are not known here and for layers whose parts are
    stored in types that cannot be joined.
    """
    plain, scales = split_scales(what, tensors)
    try:
        made = rename(plain)
    except RuntimeError as e:  # torch puts numbers of 8 bits beside no others
        raise ModelLoadError(
            f"{what} stores parts of one layer in different types, which cannot be joined ({e}): choose a file of it "
            "in 16 bits or in the original layout"
        ) from e
    if not scales:
        return made
    one = torch.ones(())
    of_rows = {key: scales.get(key, one.expand(tensor.shape)) for key, tensor in plain.items()}
    of_rows = rename({key: scale[:, *[slice(1)] * (scale.ndim - 1)] for key, scale in of_rows.items() if scale.ndim})
    layers = [
        key.removesuffix(".weight")
        for key, tensor in made.items()
        if key.endswith(".weight") and tensor.dtype in SCALED_TYPES
    ]
    return made | {f"{layer}{SCALES[1]}": of_rows[f"{layer}.weight"] for layer in layers}


def is_plain(tensors: StateDict) -> bool:
    """Says whether the numbers of a file are what its weights mean."""
    return not any(key.endswith(SCALES) or is_in_blocks(tensor) for key, tensor in tensors.items())


def check_formats(what: str, tensors: StateDict) -> None:
    """Raises ModelLoadError for a layer in a format of more than numbers and a scale, which it names."""
    for key, tensor in tensors.items():
        if key.endswith(".comfy_quant"):
            try:
                name = json.loads(bytes(tensor.tolist()))["format"]
            except (ValueError, KeyError, TypeError) as e:
                raise ModelLoadError(f"{what}: {key} does not say in which format its layer is: {e}") from e
        elif key.endswith(".weight_scale_2"):
            name = "nvfp4"
        else:
            continue
        if name not in FORMATS:
            known = ", ".join(sorted(FORMATS))
            raise ModelLoadError(
                f"{what} has layers stored as {name} ({key}), which is not supported: known are {known}"
            )


def spread(what: str, scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Returns a scale, one number or one for each row, in the shape of its weight. Raises ModelLoadError."""
    if scale.numel() == 1:
        return scale.reshape(()).expand(weight.shape)
    if scale.numel() == weight.shape[0] == scale.shape[0]:
        return scale.reshape(-1, *[1] * (weight.ndim - 1)).expand(weight.shape)
    raise ModelLoadError(
        f"{what} has shape {tuple(scale.shape)}, the weight {tuple(weight.shape)}: only scales of whole weights and of "
        "their rows are supported"
    )


def gguf_package() -> Any:
    """Returns the package that knows the format. Raises ModelLoadError without it."""
    try:
        import gguf
    except ImportError as e:
        raise ModelLoadError("files of GGUF need the package gguf: pip install gguf") from e
    return gguf


def read_gguf(filename: str) -> StateDict:
    """Reads the tensors of a GGUF file, mapped from it; those in blocks are diffusers' GGUFParameter.

    Raises ModelLoadError for a file that is none, and for kinds of blocks that diffusers cannot widen.
    """
    gguf = gguf_package()
    from diffusers.quantizers.gguf.utils import SUPPORTED_GGUF_QUANT_TYPES, GGUFParameter, dequantize_gguf_tensor

    try:
        reader = gguf.GGUFReader(filename, "c")  # pages that are written to are copied; nothing writes
    except (ValueError, IndexError, KeyError) as e:
        raise ModelLoadError(f"{filename} is not a GGUF file, or it is damaged: {e}") from e
    kinds = gguf.GGMLQuantizationType
    found: StateDict = {}
    for entry in reader.tensors:
        tensor = torch.from_numpy(entry.data)
        if entry.tensor_type == kinds.BF16:
            tensor = tensor.view(torch.bfloat16)
        elif tensor.dtype == torch.uint8:
            if entry.tensor_type not in SUPPORTED_GGUF_QUANT_TYPES:
                raise ModelLoadError(
                    f"{filename}: {entry.name} is stored as {entry.tensor_type.name}, which is not supported"
                )
            tensor = GGUFParameter(tensor, quant_type=entry.tensor_type)
        shape = original_shape(reader, entry.name)
        if shape is not None:  # it was laid flat, because blocks would not divide its rows
            tensor = (dequantize_gguf_tensor(tensor) if is_in_blocks(tensor) else tensor).reshape(shape)
        found[entry.name] = tensor
    return found


def original_shape(reader: GGUFReader, name: str) -> tuple[int, ...] | None:
    """Returns the shape of a tensor that converters for ComfyUI laid flat, None for others."""
    field = reader.get_field(f"comfy.gguf.orig_shape.{name}")
    return None if field is None else tuple(int(field.parts[i][0]) for i in field.data)


def is_in_blocks(tensor: torch.Tensor) -> bool:
    """Says whether a tensor is stored in blocks of GGUF."""
    return hasattr(tensor, "quant_type")


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """Returns the shape of the numbers that a tensor means."""
    return tuple(getattr(tensor, "quant_shape", tensor.shape))


def values(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the numbers that a stored weight means."""
    if not is_in_blocks(tensor):
        return tensor
    from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

    return dequantize_gguf_tensor(tensor)


def layer_in_blocks(
    layer: torch.nn.Module, leaf: str, tensor: torch.Tensor, dtype: torch.dtype
) -> torch.nn.Module | None:
    """Returns a layer that keeps its weight in blocks, to be put in the place of a linear layer without weights; None
    if the tensor is no such weight. dtype: what the layer computes in.
    """
    if leaf != "weight" or type(layer) is not torch.nn.Linear or not is_in_blocks(tensor):
        return None
    from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter

    with InitializeOnMeta():
        made = GGUFLinear(layer.in_features, layer.out_features, layer.bias is not None, compute_dtype=dtype)
    made.weight = GGUFParameter(tensor.as_tensor().clone(), quant_type=tensor.quant_type)
    made.bias = layer.bias
    return made


def layers_in_blocks() -> tuple[type[torch.nn.Module], ...]:
    """Returns the kinds of layers that keep their weights in blocks; none where such files cannot be read."""
    try:
        from diffusers.quantizers.gguf.utils import GGUFLinear
    except ImportError:
        return ()
    return (GGUFLinear,)


def is_kept_in_blocks(network: torch.nn.Module) -> bool:
    """Says whether some layers of a network keep their weights in blocks."""
    return any(is_in_blocks(parameter) for parameter in network.parameters())
