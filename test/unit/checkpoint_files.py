"""Checkpoint files for tests, made from the embedded one by changing its weights."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from modules.checkpoints import embedded_checkpoint

INPUT_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"

Change = Callable[[dict[str, torch.Tensor]], object]


def embedded_weights() -> dict[str, torch.Tensor]:
    """The weights of the embedded checkpoint."""
    return load_file(embedded_checkpoint)


def write_checkpoint(path: Path, change: Change | None = None, metadata: Mapping[str, str] | None = None) -> Path:
    """Writes the embedded checkpoint under another name, with its dictionary of weights changed in place."""
    weights = embedded_weights()
    if change is not None:
        change(weights)
    if path.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path, dict(metadata or {}))
    else:
        torch.save({"state_dict": weights, "epoch": 3}, path)
    return path


def with_input_channels(channels: int) -> Change:
    """Makes the U-Net take more channels than a latent has; it gives the new ones no weight."""

    def change(weights: dict[str, torch.Tensor]) -> None:
        old = weights[INPUT_CONVOLUTION]
        weights[INPUT_CONVOLUTION] = torch.zeros(old.shape[0], channels, 3, 3, dtype=old.dtype)
        weights[INPUT_CONVOLUTION][:, :4] = old

    return change


def vae_weights() -> dict[str, torch.Tensor]:
    """The weights of the embedded checkpoint's VAE, as a file of its own has them."""
    prefix = "first_stage_model."
    return {k.removeprefix(prefix): v.contiguous() for k, v in embedded_weights().items() if k.startswith(prefix)}


def sd15_unet(widths: tuple[int, ...] = (32, 64, 128, 128), text: int = 128) -> dict[str, torch.Tensor]:
    """Random weights of a U-Net laid out as Stable Diffusion 1.5's, with other widths: four levels, no attention in the
    last.
    """
    weights: dict[str, torch.Tensor] = {}
    time = 4 * widths[0]

    def add(name: str, *shape: int, bias: bool = True) -> None:
        weights[f"model.diffusion_model.{name}.weight"] = torch.randn(shape) * 0.05
        if bias:
            weights[f"model.diffusion_model.{name}.bias"] = torch.zeros(shape[0])

    def resnet(name: str, before: int, after: int) -> None:
        add(f"{name}.in_layers.0", before)
        add(f"{name}.in_layers.2", after, before, 3, 3)
        add(f"{name}.emb_layers.1", after, time)
        add(f"{name}.out_layers.0", after)
        add(f"{name}.out_layers.3", after, after, 3, 3)
        if before != after:
            add(f"{name}.skip_connection", after, before, 1, 1)

    def transformer(name: str, width: int) -> None:
        add(f"{name}.norm", width)
        add(f"{name}.proj_in", width, width, 1, 1)
        add(f"{name}.proj_out", width, width, 1, 1)
        block = f"{name}.transformer_blocks.0"
        for attention, context in (("attn1", width), ("attn2", text)):
            add(f"{block}.{attention}.to_q", width, width, bias=False)
            add(f"{block}.{attention}.to_k", width, context, bias=False)
            add(f"{block}.{attention}.to_v", width, context, bias=False)
            add(f"{block}.{attention}.to_out.0", width, width)
        add(f"{block}.ff.net.0.proj", 8 * width, width)
        add(f"{block}.ff.net.2", width, 4 * width)
        for i in (1, 2, 3):
            add(f"{block}.norm{i}", width)

    add("time_embed.0", time, widths[0])
    add("time_embed.2", time, time)
    add("input_blocks.0.0", widths[0], 4, 3, 3)
    width, block, last = widths[0], 1, len(widths) - 1
    skips = [width]
    for level, after in enumerate(widths):
        for _ in range(2):
            resnet(f"input_blocks.{block}.0", width, after)
            if level != last:
                transformer(f"input_blocks.{block}.1", after)
            width = after
            skips.append(width)
            block += 1
        if level != last:
            add(f"input_blocks.{block}.0.op", width, width, 3, 3)
            skips.append(width)
            block += 1
    resnet("middle_block.0", width, width)
    transformer("middle_block.1", width)
    resnet("middle_block.2", width, width)
    block = 0
    for level in reversed(range(len(widths))):
        for i in range(3):
            resnet(f"output_blocks.{block}.0", width + skips.pop(), widths[level])
            width = widths[level]
            if level != last:
                transformer(f"output_blocks.{block}.1", width)
            if i == 2 and level:
                add(f"output_blocks.{block}.{1 if level == last else 2}.conv", width, width, 3, 3)
            block += 1
    add("out.0", width)
    add("out.2", 4, width, 3, 3)
    return weights
