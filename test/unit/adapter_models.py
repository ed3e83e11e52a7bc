"""The embedded model with networks on it, for tests of files of networks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from modules import adapter_files, checkpoints, model_load
from modules.placement import Placement
from modules.sd_models_types import WebuiSdModel

CPU = Placement(torch.device("cpu"), torch.float32, torch.float32, torch.float32)


def embedded_model() -> WebuiSdModel:
    """The embedded model in float32."""
    return model_load.build(model_load.prepare(checkpoints.embedded_checkpoint, {}), CPU)


@contextmanager
def applied(model: WebuiSdModel, file: adapter_files.NetworkFile, strength: float = 1.0) -> Iterator[None]:
    """Has a model's weights changed by all that a file holds for it, inside the block. The file is for it alone."""
    matched = model.layer_names.match(file)
    assert not matched.unknown
    kept = []
    with torch.no_grad():
        for target in matched.targets:
            delta = target.adapter.delta(target.layer.weight.stored.float(), strength)
            for place, change in ((target.layer.weight, delta.weight), (target.layer.bias, delta.bias)):
                if change is not None:
                    kept.append((place.stored, place.stored.clone()))
                    place.stored.add_(change)
        try:
            yield
        finally:
            for stored, original in kept:
                stored.copy_(original)


def unet_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a U-Net is called with: latents, timesteps, text."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 8, 8, generator=generator)
    return x, torch.tensor([500.0]), torch.randn(1, 8, 128, generator=generator)


@torch.no_grad()
def predict(unet: torch.nn.Module) -> torch.Tensor:
    """What a U-Net predicts for the same input each time."""
    return unet(*unet_inputs(), return_dict=False)[0]


@torch.no_grad()
def encode(text_model: torch.nn.Module) -> torch.Tensor:
    """What a text encoder makes of the same tokens each time."""
    return text_model(torch.arange(77)[None] + 300).last_hidden_state
