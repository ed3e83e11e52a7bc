"""What torch's layers do by themselves, under the names by which extensions call it. Here no layer is replaced."""

from __future__ import annotations

from torch import nn

LAYERS = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.MultiheadAttention)


class LoraPatches:
    """`Linear_forward`, `Linear_load_state_dict` and so on: functions of a layer, as they were when this was made."""

    def __init__(self) -> None:
        for layer in LAYERS:
            setattr(self, f"{layer.__name__}_forward", layer.forward)
            setattr(self, f"{layer.__name__}_load_state_dict", layer._load_from_state_dict)

    def undo(self) -> None:
        """Does nothing: there is nothing to undo."""
