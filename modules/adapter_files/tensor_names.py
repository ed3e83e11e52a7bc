"""pure: how files of networks spell what is in them: a key is the name of a layer and the name of a tensor for it.

Names of tensors come out as `modules.adapters` knows them. Names of layers are left as they are.
"""

from __future__ import annotations

from typing import NamedTuple

from modules import adapters


class Spelling(NamedTuple):
    """What the end of a key means. layer: the part of it that belongs to the layer's name."""

    name: str
    layer: str = ""


def attention_processors() -> dict[str, Spelling]:
    """Returns how diffusers wrote the projections of an attention layer before it used peft."""
    layers = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}
    return {
        f"processor.{spelled}_lora.{factor}.weight": Spelling(f"lora_{factor}.weight", layer)
        for spelled, layer in layers.items()
        for factor in ("down", "up")
    }


SPELLINGS: dict[str, Spelling] = {
    **{name: Spelling(name) for name in adapters.NAMES},
    "lora_A.weight": Spelling("lora_down.weight"),  # peft
    "lora_B.weight": Spelling("lora_up.weight"),
    "lora_B.bias": Spelling("lora_up.bias"),
    "lora_magnitude_vector": Spelling("row_lengths"),
    "lora_magnitude_vector.weight": Spelling("row_lengths"),
    "lora.down.weight": Spelling("lora_down.weight"),  # diffusers before peft
    "lora.up.weight": Spelling("lora_up.weight"),
    "lora_linear_layer.down.weight": Spelling("lora_down.weight"),
    "lora_linear_layer.up.weight": Spelling("lora_up.weight"),
    **attention_processors(),
}
"""End of a key -> what it means; the longest that fits counts."""


def split(key: str) -> tuple[str, str] | None:
    """Returns the names of layer and tensor in a key, None if it ends like nothing known."""
    parts = key.split(".")
    for start in range(max(1, len(parts) - 4), len(parts)):
        found = SPELLINGS.get(".".join(parts[start:]))
        if found is not None:
            return ".".join([*parts[:start], *([found.layer] if found.layer else [])]), found.name
    return None
