"""Hypertile: self-attention over tiles of a large image instead of the whole, by hooks that can be taken off again.

Tile sizes are drawn anew at each layer and call, so that no seams stay.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

SMALLEST_TILE = 128
PIXELS_PER_CELL = 8


def attention_names(place: str, attentions: int, blocks: range) -> list[str]:
    """Returns the paths of the self-attention layers in a part of a U-Net."""
    return [f"{place}.attentions.{i}.transformer_blocks.{block}.attn1" for i in range(attentions) for block in blocks]


SD1_LAYERS: dict[int, list[str]] = {
    0: attention_names("down_blocks.0", 2, range(1)) + attention_names("up_blocks.3", 3, range(1)),
    1: attention_names("down_blocks.1", 2, range(1)) + attention_names("up_blocks.2", 3, range(1)),
    2: attention_names("down_blocks.2", 2, range(1)) + attention_names("up_blocks.1", 3, range(1)),
    3: attention_names("mid_block", 1, range(1)),
}
"""Depth -> self-attention layers of a U-Net of SD1 or SD2. Each level halves the sides."""

SDXL_LAYERS: dict[int, list[str]] = {
    0: attention_names("down_blocks.1", 2, range(1)) + attention_names("up_blocks.1", 3, range(1)),
    1: attention_names("down_blocks.1", 2, range(1, 2))
    + attention_names("up_blocks.1", 3, range(1, 2))
    + attention_names("down_blocks.2", 2, range(10))
    + attention_names("up_blocks.0", 3, range(10)),
    2: attention_names("mid_block", 1, range(10)),
}

VAE_LAYERS: dict[int, list[str]] = {0: ["decoder.mid_block.attentions.0"]}


@dataclass(frozen=True)
class TilingSettings:
    """How a network is tiled: deepest level, largest tile in pixels, number of tile sizes to draw from."""

    max_depth: int
    max_tile: int
    swap_size: int


def tile_cells(width: int, height: int, max_tile: int) -> int:
    """Returns the smallest side of a tile, in latent cells, for an image of this size."""
    largest_power_of_two = math.gcd(width, height) & -math.gcd(width, height)
    return max(SMALLEST_TILE, min(largest_power_of_two, max_tile)) // PIXELS_PER_CELL


def pick(length: int, smallest: int, options: int, rng: random.Random) -> int:
    """Draws into how many tiles a length is cut.

    Their size is one of the first `options` that cut it into equal tiles and are not under `smallest`.
    """
    smallest = min(smallest, length)
    sizes = [size for size in range(max(smallest, 1), length + 1) if length % size == 0]
    counts = [length // size for size in sizes[: max(1, options)]]
    return counts[rng.randint(0, len(counts) - 1)]


def token_grid(tokens: int, aspect: float) -> tuple[int, int]:
    """Returns the sides of the rectangle that tokens form. aspect: width of the image over its height."""
    first, second = (max(1, round(math.sqrt(area))) for area in (tokens * aspect, tokens / aspect))
    if first * second == tokens:
        return first, second
    if tokens % first == 0:
        return first, tokens // first
    if tokens % second == 0:
        return tokens // second, second
    pairs = [(i, tokens // i) for i in range(2, tokens + 1) if tokens % i == 0]
    return min(pairs, key=lambda pair: abs(pair[1] / pair[0] - aspect))


def split_tokens(x: Tensor, grid: tuple[int, int], tiles: tuple[int, int]) -> Tensor:
    """Cuts (B, tokens, C) into (B · tiles, tokens of a tile, C)."""
    (h, w), (nh, nw) = grid, tiles
    x = x.unflatten(1, (nh, h // nh, nw, w // nw)).transpose(2, 3)  # (B, nh, nw, h, w, C)
    return x.flatten(3, 4).flatten(0, 2)


def join_tokens(x: Tensor, grid: tuple[int, int], tiles: tuple[int, int]) -> Tensor:
    """Undoes split_tokens."""
    (h, w), (nh, nw) = grid, tiles
    x = x.unflatten(0, (-1, nh, nw)).unflatten(3, (h // nh, w // nw))  # (B, nh, nw, h, w, C)
    return x.transpose(2, 3).flatten(1, 4)


def split_map(x: Tensor, tiles: tuple[int, int]) -> Tensor:
    """Cuts (B, C, h, w) into (B · tiles, C, h / nh, w / nw)."""
    nh, nw = tiles
    x = x.unflatten(3, (nw, -1)).unflatten(2, (nh, -1))  # (B, C, nh, h, nw, w)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def join_map(x: Tensor, tiles: tuple[int, int]) -> Tensor:
    """Undoes split_map."""
    nh, nw = tiles
    x = x.unflatten(0, (-1, nh, nw)).permute(0, 3, 1, 4, 2, 5)  # (B, C, nh, h, nw, w)
    return x.flatten(4, 5).flatten(2, 3)


class TokenTiling:
    """Hooks for a layer of a U-Net: its input (B, tokens, C) is cut before, its output joined after."""

    def __init__(self, rng: random.Random, smallest: int, swap_size: int, aspect: float):
        self.rng = rng
        self.smallest = smallest
        self.swap_size = swap_size
        self.aspect = aspect
        self.grid = (1, 1)
        self.tiles = (1, 1)

    def split(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Draws the tiles and cuts the input."""
        self.grid = token_grid(args[0].shape[1], self.aspect)
        h, w = self.grid
        self.tiles = pick(h, self.smallest, self.swap_size, self.rng), pick(w, self.smallest, self.swap_size, self.rng)
        return args if self.tiles == (1, 1) else (split_tokens(args[0], self.grid, self.tiles), *args[1:])

    def join(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Puts the output together."""
        return output if self.tiles == (1, 1) else join_tokens(output, self.grid, self.tiles)


class MapTiling:
    """Hooks for a layer of a VAE, whose input and output are (B, C, h, w)."""

    def __init__(self, rng: random.Random, smallest: int, swap_size: int):
        self.rng = rng
        self.smallest = smallest
        self.swap_size = swap_size
        self.tiles = (1, 1)

    def split(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Draws the tiles and cuts the input."""
        h, w = args[0].shape[-2:]
        self.tiles = pick(h, self.smallest, self.swap_size, self.rng), pick(w, self.smallest, self.swap_size, self.rng)
        return args if self.tiles == (1, 1) else (split_map(args[0], self.tiles), *args[1:])

    def join(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Puts the output together."""
        return output if self.tiles == (1, 1) else join_map(output, self.tiles)


class Hypertile:
    """Tilings of networks whose tile sizes are all drawn from one generator."""

    def __init__(self) -> None:
        self.rng = random.Random()

    def seed(self, seed: int) -> None:
        """Begins the sequence of tile sizes anew."""
        self.rng.seed(seed)

    @contextmanager
    def unet_tiled(
        self, unet: nn.Module, is_sdxl: bool, size: tuple[int, int], settings: TilingSettings
    ) -> Iterator[None]:
        """Tiles a diffusers U-Net for images of this size (width, height), inside the block."""
        smallest, aspect = tile_cells(*size, settings.max_tile), size[0] / size[1]
        table = SDXL_LAYERS if is_sdxl else SD1_LAYERS
        with ExitStack() as stack:
            for depth, layer in layers(unet, table, settings.max_depth):
                inject(stack, layer, TokenTiling(self.rng, smallest * 2**depth, settings.swap_size, aspect))
            yield

    @contextmanager
    def vae_tiled(self, vae: nn.Module, size: tuple[int, int], settings: TilingSettings) -> Iterator[None]:
        """Tiles the decoder of a diffusers VAE for images of this size (width, height), inside the block."""
        smallest = tile_cells(*size, settings.max_tile)
        with ExitStack() as stack:
            for _, layer in layers(vae, VAE_LAYERS, settings.max_depth):
                inject(stack, layer, MapTiling(self.rng, smallest, settings.swap_size))
            yield


def inject(stack: ExitStack, layer: nn.Module, tiling: TokenTiling | MapTiling) -> None:
    """Adds hooks to a layer, which the stack takes off again."""
    # After what others do to the input, such as merging tokens, and before what they do to the output.
    stack.callback(layer.register_forward_pre_hook(tiling.split).remove)
    stack.callback(layer.register_forward_hook(tiling.join, prepend=True).remove)


def layers(network: nn.Module, table: dict[int, list[str]], max_depth: int) -> Iterator[tuple[int, nn.Module]]:
    """Yields (depth, layer) of all layers of a table that a network has, down to a depth."""
    modules = dict(network.named_modules())
    for depth, names in table.items():
        for name in names:
            if depth <= max_depth and name in modules:
                yield depth, modules[name]
