"""engine: embedding files: the formats they come in, and the vectors inside them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

from modules import devices, safe, weights
from modules.errors import ModelLoadError
from modules.textual_inversion.image_embedding import embedding_from_b64, extract_image_data_embed

IMAGE_EXTENSIONS = {".png", ".webp", ".jxl", ".avif"}
PICKLE_EXTENSIONS = {".bin", ".pt"}
IMAGE_TEXT_KEY = "sd-ti-embedding"

CLIP_KEYS = ("clip_l", "clip_g")
"""Keys of the vectors for models with two encoders."""

OTHER_NAMES = {"text_encoders_0": "clip_l", "text_encoders_1": "clip_g"}
"""Keys that the first versions of diffusers' training script for SDXL gave."""

OUTPUT_SUFFIX = "_out"
"""How OneTrainer marks vectors that it adds to what an encoder gives, which no other program does."""

UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, RuntimeError, Image.DecompressionBombError)
"""What Pillow, JSON and tensors of lists raise for damaged images."""

Vectors = torch.Tensor | dict[str, torch.Tensor]
"""(vectors, width), or for models with two encoders {"clip_l": (vectors, width), "clip_g": (vectors, width)}."""


def read_embedding_file(path: str) -> tuple[Any, str] | None:
    """Reads (contents, name) of an embedding file; None if it is none: of another type, or an image without one.

    Raises ModelLoadError for a damaged file, and for one that could run code.
    """
    stem, extension = os.path.splitext(os.path.basename(path))
    extension = extension.lower()
    if extension in IMAGE_EXTENSIONS:
        data = None if stem.lower().endswith(".preview") else data_of_image(path)
        return None if data is None else (data, stored_name(data, stem))
    if extension in PICKLE_EXTENSIONS:
        return safe.load(path, map_location="cpu"), stem
    if weights.is_safetensors(path):
        return weights.read_safetensors(path, "cpu"), stem
    return None


def data_of_image(path: str) -> Any:
    """Returns the embedding that an image carries in its text or its pixels, None if it carries none."""
    try:
        with Image.open(path) as image:
            text = getattr(image, "text", {}).get(IMAGE_TEXT_KEY)
            return extract_image_data_embed(image) if text is None else embedding_from_b64(text)
    except UNREADABLE as e:
        raise ModelLoadError(f"{path} cannot be read as an image, or the embedding in it is damaged: {e}") from e


def stored_name(data: Any, otherwise: str) -> str:
    """Returns the name that an image's embedding has there."""
    name = data.get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) and name else otherwise


def vectors_from_data(data: Any, filename: str) -> Vectors:
    """Returns the tensors in the contents of an embedding file, as float32 on the device.

    Raises ModelLoadError for contents that are no embedding of one term.
    """
    if not isinstance(data, Mapping):
        raise ModelLoadError(f"{filename} holds no embedding but a {type(data).__name__}")
    terms = data.get("string_to_param", data)
    terms = getattr(terms, "_parameters", terms)  # ParameterDict of torch before 1.12
    if not isinstance(terms, Mapping):
        raise ModelLoadError(f"{filename} is neither a textual inversion embedding nor a diffusers concept")
    terms = {OTHER_NAMES.get(key, key): value for key, value in terms.items()}
    if all(key in terms for key in CLIP_KEYS):
        pair = {key: as_vectors(terms[key], filename) for key in CLIP_KEYS}
        if len({len(tensor) for tensor in pair.values()}) > 1:
            raise ModelLoadError(f"{filename} is damaged: its two encoders have different numbers of vectors")
        return pair
    return only_tensor(terms, filename)


def only_tensor(terms: Mapping[Any, Any], filename: str) -> torch.Tensor:
    """Returns the tensor of a mapping that has one beside those for the output. Raises ModelLoadError."""
    inputs = [tensor for key, tensor in terms.items() if not str(key).endswith(OUTPUT_SUFFIX)]
    if terms and not inputs:
        raise ModelLoadError(f"{filename} holds vectors for the output of the text encoder only, which OneTrainer adds")
    if not all(isinstance(tensor, torch.Tensor) for tensor in inputs):
        raise ModelLoadError(f"{filename} is neither a textual inversion embedding nor a diffusers concept")
    if len(inputs) != 1:
        raise ModelLoadError(f"{filename} holds {len(inputs)} terms; only embeddings of one term can be used")
    return as_vectors(inputs[0], filename)


def as_vectors(tensor: Any, filename: str) -> torch.Tensor:
    """Returns a tensor as (vectors, width), float32, on the device, without its history and its file.

    A tensor that is mapped from a file would take the program down with it when the file is cut short.
    """
    if not isinstance(tensor, torch.Tensor):
        raise ModelLoadError(f"{filename} is neither a textual inversion embedding nor a diffusers concept")
    vectors = torch.atleast_2d(tensor.detach()).to(devices.device, dtype=torch.float32, copy=True)
    if vectors.dim() != 2 or not vectors.numel():
        raise ModelLoadError(f"{filename} is damaged: its vectors have the shape {tuple(tensor.shape)}")
    return vectors
