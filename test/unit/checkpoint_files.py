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
