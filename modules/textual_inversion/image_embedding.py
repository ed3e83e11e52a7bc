"""pure: embeddings carried by images, as JSON in a text chunk or as strips of pixels at their sides.

Pixel carrier: the JSON, deflated, is cut into low and high halves of its bytes. Each is written three values a pixel
into the low four bits of a strip as high as the image: low halves left of the image, high halves right, one black
column between. The strips' high four bits are decoration. Because the values are scrambled, columns whose low bits are
all zero occur only in the middle, so they mark where the strips end.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image

TENSOR_KEY = "TORCHTENSOR"

MAX_TEXT = 64 * 1024 * 1024
"""Bytes of an embedding's JSON in pixels; the longest ones have a tenth. Deflated data may claim to be a thousand times
their size."""


class EmbeddingEncoder(json.JSONEncoder):
    """Writes a tensor as {"TORCHTENSOR": nested lists}."""

    def default(self, obj: Any) -> Any:
        """Returns what to write for an object that JSON does not know."""
        if isinstance(obj, torch.Tensor):
            return {TENSOR_KEY: obj.detach().cpu().tolist()}
        return super().default(obj)


class EmbeddingDecoder(json.JSONDecoder):
    """Reads what EmbeddingEncoder wrote."""

    def __init__(self, **kwargs: Any):
        super().__init__(object_hook=self.object_hook, **kwargs)

    def object_hook(self, d: dict) -> Any:
        """Returns what an object of the text stands for."""
        return torch.tensor(d[TENSOR_KEY]) if TENSOR_KEY in d else d


def embedding_to_b64(data: dict) -> bytes:
    """Returns the text of a PNG's `sd-ti-embedding` chunk."""
    return base64.b64encode(json.dumps(data, cls=EmbeddingEncoder).encode())


def embedding_from_b64(data: str | bytes) -> dict:
    """Reads what embedding_to_b64 wrote. Raises ValueError for anything else."""
    return json.loads(base64.b64decode(data), cls=EmbeddingDecoder)


def lcg(m: int = 2**32, a: int = 1664525, c: int = 1013904223, seed: int = 0) -> Iterator[int]:
    """Yields pseudo-random bytes 0..254 of a linear congruential generator."""
    while True:
        seed = (a * seed + c) % m
        yield seed % 255


def xor_block(block: np.ndarray) -> np.ndarray:
    """Scrambles the low four bits of a strip, uint8, or unscrambles them: twice is nothing."""
    keys = np.fromiter(islice(lcg(), block.size), np.uint8, count=block.size)
    return block ^ (keys & 0x0F).reshape(block.shape)


def style_block(block: np.ndarray, sequence: np.ndarray) -> np.ndarray:
    """Draws numbers in 0..255 as grey bands, one a row, into the high four bits of a strip (height, columns, 3)."""
    bands = np.resize(sequence.astype(np.uint8) & 0xF0, len(block))
    return block | bands[:, None, None]


def pack_strip(values: np.ndarray, height: int) -> np.ndarray:
    """Lays four-bit values (n,) out as a strip (height, columns, 3); the end is filled by repetition."""
    columns = -(-len(values) // (height * 3))
    return np.resize(values, (height, columns, 3))


def insert_image_data_embed(image: Image.Image, data: dict) -> Image.Image:
    """Returns an image between two strips that carry an embedding; `data["string_to_param"]` gives their decoration."""
    compressed = np.frombuffer(zlib.compress(json.dumps(data, cls=EmbeddingEncoder).encode(), level=9), np.uint8)
    vector = np.abs(next(iter(data["string_to_param"].values()))[0].detach().cpu().float().numpy())
    decoration = vector / max(vector.max(), 1e-12) * 255

    base = np.array(image.convert("RGB"))
    low, high = (
        style_block(xor_block(pack_strip(half, image.height)), decoration)
        for half in (compressed & 0x0F, compressed >> 4)
    )
    separator = np.zeros((image.height, 1, 3), np.uint8)
    return Image.fromarray(np.concatenate([low, separator, base, separator, high], axis=1))


def crop_black(img: np.ndarray, tol: int = 0) -> np.ndarray:
    """Cuts outer rows and columns off in which no value is above tol. img: (height, columns, 3)."""
    lit = (img > tol).any(axis=2)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if rows.size == 0:
        return img[:0, :0]
    return img[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def extract_image_data_embed(image: Image.Image) -> dict | None:
    """Returns the embedding in the pixels of an image, None if there is none."""
    nibbles = crop_black(np.array(image.convert("RGB"))) & 0x0F
    zero_columns = np.flatnonzero(~nibbles.any(axis=(0, 2)))
    if zero_columns.size < 2:
        return None
    low, high = nibbles[:, : zero_columns[0]], nibbles[:, zero_columns[-1] + 1 :]
    if low.shape != high.shape:
        return None
    deflated = zlib.decompressobj()  # unlike zlib.decompress, it knows where the data end and the filling begins
    try:
        text = deflated.decompress((xor_block(low) | xor_block(high) << 4).tobytes(), MAX_TEXT)
    except zlib.error:
        return None
    return json.loads(text, cls=EmbeddingDecoder) if deflated.eof else None
