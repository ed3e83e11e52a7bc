"""Networks of the LoRA family: their changes of weights, against v1.10.1's numbers."""

import json
from pathlib import Path

import pytest
import torch

from modules import adapters

ROWS = json.loads((Path(__file__).parent.parent / "data" / "network_vectors.json").read_text(encoding="utf8"))["rows"]


def tensor_of(value) -> torch.Tensor:
    """A tensor of the vectors: 0.5 sin(k n) in row-major order, or a number."""
    if not isinstance(value, dict):
        return torch.tensor(value)
    shape = value["shape"]
    n = torch.arange(1, torch.Size(shape).numel() + 1, dtype=torch.float32)
    return (0.5 * torch.sin(value["k"] * n)).reshape(shape)


@pytest.mark.parametrize("row", ROWS, ids=[row["case"] for row in ROWS])
def test_changes_are_those_of_v1_10_1(row):
    renamed = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
    tensors = {renamed.get(name, name): tensor_of(value) for name, value in row["tensors"].items()}
    adapter = adapters.read(tensors)
    delta = adapter.delta(tensor_of(row["layer_weight"]), row["multiplier"], row["dyn"])
    assert adapter.scale == pytest.approx(row["scale"])
    assert list(delta.weight.shape) == row["delta_shape"]
    torch.testing.assert_close(delta.weight.flatten(), torch.tensor(row["delta"]), rtol=1e-4, atol=1e-6)
    if row["delta_bias"] is None:
        assert delta.bias is None
    else:
        torch.testing.assert_close(delta.bias, torch.tensor(row["delta_bias"]), rtol=1e-4, atol=1e-6)
