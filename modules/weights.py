"""engine: files of weights: reads them, whichever format they are in, into dictionaries of tensors by key. Knows no
networks, no settings.

Reading maps the file into memory, so that a weight costs no memory until it is used.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import weakref
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch

from modules import quantized, safe, util
from modules.errors import ModelLoadError
from modules.model_families import Shapes

StateDict = dict[str, torch.Tensor]

EXTENSIONS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
"""Endings of the names of files that can be read."""

MAX_HEADER_SIZE = 100_000_000
"""Bytes; the safetensors library has the same limit."""


def is_safetensors(filename: str) -> bool:
    """Says whether a file is to be read as safetensors, by its name."""
    return filename.lower().endswith(".safetensors")


METADATA_FIRST = re.compile(r'\{\s*"__metadata__"\s*:\s*')
"""How a header begins whose metadata come before the weights, as the safetensors library writes them."""


def read_shapes(filename: str) -> Shapes:
    """Returns the shape of each weight of a safetensors file. Raises ModelLoadError for a file that is none."""

    def shapes_in(text: str) -> Shapes:
        """Returns the shapes in the text of a header."""
        header = json.loads(text)
        header.pop("__metadata__", None)
        return {key: tuple(weight["shape"]) for key, weight in header.items()}

    return decoded_header(filename, shapes_in)


def read_plain_metadata(filename: str) -> dict[str, str]:
    """Returns the metadata of a safetensors file as they are, {} without any.

    Where they come first in the header, what follows is not looked at: that is most of the header. Raises
    ModelLoadError for a file that is none.
    """

    def metadata_of(text: str) -> dict[str, str]:
        """Returns the metadata in the text of a header."""
        start = METADATA_FIRST.match(text)
        found = json.JSONDecoder().raw_decode(text, start.end())[0] if start else json.loads(text).get("__metadata__")
        texts = {key: value for key, value in (found or {}).items() if isinstance(value, str)}
        return {util.sendable(key): util.sendable(value) for key, value in texts.items()}

    return decoded_header(filename, metadata_of)


def decoded_header(filename: str, decode: Callable[[str], Any]) -> Any:
    """Returns what `decode` makes of the text of a safetensors file's header.

    Raises ModelLoadError for a file that is none.
    """
    with open(filename, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size <= 2 or size > MAX_HEADER_SIZE or file.read(1) != b"{":
            raise ModelLoadError(f"{filename} is not a safetensors file")
        header = b"{" + file.read(size - 1)
    try:
        if len(header) < size:
            raise ValueError(f"its header should have {size} bytes and has {len(header)}")
        return decode(header.decode())
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as e:
        raise damaged(filename, e) from e


def read_metadata_from_safetensors(filename: str) -> dict[str, Any]:
    """Returns the metadata of a safetensors file, {} without any. Values that are JSON objects are decoded."""
    return {key: decoded(value) for key, value in read_plain_metadata(filename).items()}


def decoded(value: Any) -> Any:
    """Returns a metadata value, as data where it is a JSON object; texts in it can be sent, see `util.sendable`."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(util.sendable(json.dumps(json.loads(value), ensure_ascii=False)))
        except (ValueError, RecursionError):
            return value
    return value


def read_state_dict(filename: str, device: str = "cpu") -> StateDict:
    """Reads the tensors of a checkpoint, by the keys the file gives them, mapped from the file where it is possible.

    Raises ModelLoadError for a damaged file, and for a .ckpt that could run code.
    """
    return read_with(read_safetensors, filename, device)


SafetensorsReader = Callable[[str, str], StateDict]
"""Takes the path of a safetensors file and a device to its tensors."""


def read_with(reader: SafetensorsReader, filename: str, device: str = "cpu") -> StateDict:
    """Returns what `read_state_dict` does; safetensors files are read by `reader`."""
    try:
        if os.path.isdir(filename):
            raise ModelLoadError(f"{filename} is a folder; it takes a file here")
        if is_safetensors(filename):
            return reader(filename, device)
        if filename.lower().endswith(".gguf"):
            return quantized.read_gguf(filename)
        content = safe.load(filename, map_location=device, mmap=zipfile.is_zipfile(filename))
    except FileNotFoundError as e:
        raise ModelLoadError(f"{filename} is not there any more") from e
    except OSError as e:
        raise ModelLoadError(f"{filename} cannot be read: {e}") from e
    return get_state_dict_from_checkpoint(content, filename)


def read_safetensors(filename: str, device: str) -> StateDict:
    """Reads the tensors of a safetensors file. Raises ModelLoadError for a file that is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(filename, device=device)
    except SafetensorError as e:
        raise damaged(filename, e) from e


def damaged(filename: str, reason: Exception) -> ModelLoadError:
    """Returns the error for a file that is no safetensors file, or not whole."""
    return ModelLoadError(f"{filename} is not a safetensors file, or it is damaged: {reason}")


DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F64": torch.float64,
}
"""What the header of a safetensors file calls a type of numbers -> torch's."""


_mapped: weakref.WeakValueDictionary[str, mmap.mmap] = weakref.WeakValueDictionary()
"""Path of a file -> the memory that `read_once` has mapped it to, as long as there are tensors in it."""


def read_once(filename: str) -> StateDict:
    """Returns what `read_state_dict` does, for tensors that are used once each; see `release`.

    Raises ModelLoadError.
    """
    return read_with(map_safetensors if hasattr(mmap, "MADV_DONTNEED") else read_safetensors, filename)


def map_safetensors(filename: str, device: str) -> StateDict:
    """Returns the tensors of a safetensors file in memory that `release` knows. Raises ModelLoadError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(filename, "pt", device), open(filename, "rb") as file:  # which checks the header
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except SafetensorError as e:
        raise damaged(filename, e) from e
    _mapped[filename] = mapping
    return mapped_tensors(filename, mapping)


def release(filename: str) -> None:
    """Gives back the memory of all that was read so far of a file that `read_once` has mapped.

    Its pages count as the process's own until then, as much again as the weights. What is used again is read again.
    """
    mapping = _mapped.get(filename)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def mapped_tensors(filename: str, mapping: mmap.mmap) -> StateDict:
    """Returns the tensors of a safetensors file that is known to be sound, in the memory it is mapped to."""
    size = int.from_bytes(mapping[:8], "little")
    header = json.loads(mapping[8 : 8 + size])
    header.pop("__metadata__", None)
    content = torch.frombuffer(mapping, dtype=torch.uint8)[8 + size :]
    tensors = {}
    for key, weight in header.items():
        if weight["dtype"] not in DTYPES:
            raise ModelLoadError(f"{filename} has weights of the type {weight['dtype']}, which is not supported")
        start, end = weight["data_offsets"]
        stored, dtype = content[start:end], DTYPES[weight["dtype"]]
        if stored.data_ptr() % dtype.itemsize:
            stored = stored.clone()
        tensors[key] = stored.view(dtype).view(weight["shape"])
    return tensors


def get_state_dict_from_checkpoint(content: Any, filename: str = "the file") -> StateDict:
    """Returns the weights in what a .ckpt holds: the dictionary itself, or its entry state_dict."""
    while isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise ModelLoadError(f"{filename} holds a {type(content).__name__}, not a dictionary of weights")
    return {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}


def shapes_of(tensors: Mapping[str, torch.Tensor]) -> Shapes:
    """Returns the shape of each tensor, of one in blocks that of what it means."""
    return {key: quantized.shape_of(tensor) for key, tensor in tensors.items()}


def replace_prefixes(tensors: StateDict, replacements: Mapping[str, str]) -> StateDict:
    """Returns the same tensors, with keys that begin with an old prefix under the new one."""
    return {transform_checkpoint_dict_key(key, replacements): tensor for key, tensor in tensors.items()}


def transform_checkpoint_dict_key(key: str, replacements: Mapping[str, str]) -> str:
    """Returns a key with the first old prefix of `replacements` (old -> new) that it begins with replaced."""
    for old, new in replacements.items():
        if key.startswith(old):
            return new + key[len(old) :]
    return key
