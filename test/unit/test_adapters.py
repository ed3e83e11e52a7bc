"""Networks of the LoRA family: their changes of weights, against v1.10.1's numbers."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from modules import adapters

ROWS = json.loads((Path(__file__).parent.parent / "data" / "network_vectors.json").read_text(encoding="utf8"))["rows"]


def tensor_of(value) -> torch.Tensor:
    """A tensor of the vectors: 0.5 sin(k n) in row-major order, or a number."""
    if not isinstance(value, dict):
        return torch.tensor(value)
    shape = value["shape"]
    n = torch.arange(1, torch.Size(shape).numel() + 1, dtype=torch.float32)
    return (0.5 * torch.sin(value["k"] * n)).reshape(shape)


def read_row(row) -> adapters.Adapter:
    """The network of a row. Files with peft's names for its tensors are read by `modules.adapter_files`."""
    renamed = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
    return adapters.read({renamed.get(name, name): tensor_of(value) for name, value in row["tensors"].items()})


@pytest.mark.parametrize("row", ROWS, ids=[row["case"] for row in ROWS])
def test_changes_are_those_of_v1_10_1(row):
    adapter = read_row(row)
    delta = adapter.delta(tensor_of(row["layer_weight"]), row["multiplier"], row["dyn"])
    assert adapter.scale == pytest.approx(row["scale"])
    assert list(delta.weight.shape) == row["delta_shape"]
    torch.testing.assert_close(delta.weight.flatten(), torch.tensor(row["delta"]), rtol=1e-4, atol=1e-6)
    if row["delta_bias"] is None:
        assert delta.bias is None
    else:
        torch.testing.assert_close(delta.bias, torch.tensor(row["delta_bias"]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("row", ROWS, ids=[row["case"] for row in ROWS])
def test_changes_are_added_where_the_sum_lies(row):
    adapter = read_row(row)
    weight, strength, dyn = tensor_of(row["layer_weight"]), row["multiplier"], row["dyn"]
    total = torch.ones_like(weight)
    place = total.data_ptr()
    adapter.add_to(total, weight, strength, dyn)
    torch.testing.assert_close(total, 1 + adapter.delta(weight, strength, dyn).weight)
    assert total.data_ptr() == place


@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_output_with_the_first_ranks_only(kernel):
    down = torch.randn(3, 6, *kernel)
    adapter = adapters.read({"lora_up.weight": torch.randn(8, 3, *[1] * len(kernel)), "lora_down.weight": down})
    weight = torch.zeros(8, 6, *kernel)
    operation, x = (F.conv2d, torch.randn(1, 6, 5, 5)) if kernel else (F.linear, torch.randn(1, 6))
    expected = operation(x, adapter.delta(weight, 0.5, 2).weight)
    torch.testing.assert_close(adapter.output(operation, x, weight, 0.5, 2), expected, rtol=1e-4, atol=1e-5)


def test_sum_that_is_not_contiguous():
    adapter = lora(16, 8 * 9)
    weight = torch.randn(16, 8, 3, 3)
    total = torch.zeros_like(weight).to(memory_format=torch.channels_last)
    adapter.add_to(total, weight, 0.5)
    torch.testing.assert_close(total, adapter.delta(weight, 0.5).weight)


def lora(outputs: int, inputs: int, rank: int = 2, **more: torch.Tensor) -> adapters.Adapter:
    """A LoRA with random factors."""
    return adapters.read(
        {"lora_up.weight": torch.randn(outputs, rank), "lora_down.weight": torch.randn(rank, inputs)} | more
    )


def test_inputs_it_was_not_trained_with_are_left_alone():
    adapter = adapters.read({"lora_up.weight": torch.randn(8, 2, 1, 1), "lora_down.weight": torch.randn(2, 4, 3, 3)})
    weight = torch.randn(8, 9, 3, 3)
    change = adapter.delta(weight, 1.0).weight
    torch.testing.assert_close(change[:, :4], adapter.delta(weight[:, :4], 1.0).weight)
    assert not change[:, 4:].any()
    x = torch.randn(1, 9, 6, 6)
    added = adapter.output(F.conv2d, x, weight, 0.7)
    torch.testing.assert_close(added, F.conv2d(x, change) * 0.7, rtol=1e-4, atol=1e-5)


def test_lengths_of_columns_of_inputs_it_was_trained_with():
    tensors = {"lora_up.weight": torch.randn(8, 2, 1, 1), "lora_down.weight": torch.randn(2, 4, 3, 3)}
    adapter = adapters.read({**tensors, "dora_scale": torch.rand(1, 4, 1, 1) + 0.5})
    weight = torch.randn(8, 9, 3, 3)
    change = adapter.delta(weight, 1.0).weight
    lengths = torch.linalg.vector_norm((weight + change)[:, :4], dim=(0, 2, 3))
    torch.testing.assert_close(lengths, adapter.tensors["dora_scale"].flatten())
    assert not change[:, 4:].any()


@pytest.mark.parametrize("shape", [(16, 12), (16, 12, 1, 1)])
@pytest.mark.parametrize("stored", [(), (1, 1)])
def test_linear_layers_and_convolutions_of_one_cell_are_the_same(shape, stored):
    up, down = torch.randn(16, 2), torch.randn(2, 12)
    adapter = adapters.read(
        {"lora_up.weight": up.reshape(16, 2, *stored), "lora_down.weight": down.reshape(2, 12, *stored)}
    )
    weight = torch.zeros(shape)
    torch.testing.assert_close(adapter.delta(weight, 1.0).weight, (up @ down).reshape(shape))
    x = torch.randn(3, 12, 5, 5) if len(shape) > 2 else torch.randn(3, 12)
    operation = F.conv2d if len(shape) > 2 else F.linear
    torch.testing.assert_close(
        adapter.output(operation, x, weight, 1.0), operation(x, (up @ down).reshape(shape)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("layer", [(16, 12), (8, 13), (16, 12, 3, 3), (8,), (8, 12, 3, 3)])
def test_layer_of_another_size_is_named(layer):
    adapter, weight = lora(8, 12), torch.zeros(layer)
    operation = F.conv2d if len(layer) > 2 else F.linear
    for call, arguments in (
        (adapter.delta, (weight,)),
        (adapter.add_to, (weight, weight)),
        (adapter.output, (operation, torch.zeros(1, 12, 4, 4)[..., : len(layer)], weight)),
    ):
        with pytest.raises(adapters.AdapterError, match=r"the layer's weight has shape \(") as caught:
            call(*arguments, 1.0)
        assert str(layer) in str(caught.value)


def test_factors_that_do_not_belong_together_are_named():
    adapter = adapters.read({"lora_up.weight": torch.ones(8, 3), "lora_down.weight": torch.ones(2, 12)})
    with pytest.raises(
        adapters.AdapterError, match=r"the lora has \{'lora_up.weight': \(8, 3\), 'lora_down.weight': \(2, 12\)\}"
    ):
        adapter.delta(torch.zeros(8, 12), 1.0)
    with pytest.raises(adapters.AdapterError, match="the lora has"):
        adapter.output(F.linear, torch.zeros(1, 12), torch.zeros(8, 12), 1.0)


def test_bias_of_another_size_is_named():
    adapter = adapters.read({"diff": torch.ones(8, 12), "diff_b": torch.ones(7)})
    with pytest.raises(adapters.AdapterError, match=r"'diff_b': \(7,\)"):
        adapter.delta(torch.zeros(8, 12), 1.0)


def test_only_a_bias():
    adapter = adapters.read({"diff_b": torch.arange(3.0)})
    assert (adapter.changes_weight, adapter.changes_bias) == (False, True)
    delta = adapter.delta(torch.ones(3, 2), 0.5)
    assert delta.weight is None
    assert delta.bias.tolist() == [0, 0.5, 1]
    total = torch.ones(3, 2)
    adapter.add_to(total, torch.ones(3, 2), 0.5)
    assert torch.equal(total, torch.ones(3, 2))
    added = adapter.output(F.linear, torch.ones(1, 2), torch.ones(3, 2), 0.5)
    assert added.tolist() == [[0, 0.5, 1]]


def test_only_one_half_of_a_norm():
    shift = adapters.read({"b_norm": torch.ones(4)})
    assert (shift.changes_weight, shift.changes_bias) == (False, True)
    scale = adapters.read({"w_norm": torch.ones(4)}).delta(torch.ones(4), 2.0)
    assert (scale.weight.tolist(), scale.bias) == ([2] * 4, None)


def test_bias_beside_factors():
    adapter = lora(8, 12, **{"alpha": torch.tensor(1.0), "lora_up.bias": torch.ones(8), "diff_b": torch.ones(8) * 3})
    assert adapter.delta(torch.zeros(8, 12), 2.0).bias.tolist() == [2 * (0.5 + 3)] * 8


@pytest.mark.parametrize("is_sparse", [False, True])
def test_what_was_stored_of_a_weight_beside_its_factors(is_sparse):
    rest = torch.zeros(8, 12)
    rest[1, 2], rest[7, 0] = 3.0, -1.0
    indices, values = torch.tensor([[1, 7], [2, 0]]), torch.tensor([3.0, -1.0])
    sparse = {"bias_indices": indices, "bias_values": values, "bias_size": torch.tensor([8, 12])}
    factors = {"lora_up.weight": torch.randn(8, 2), "lora_down.weight": torch.randn(2, 12), "alpha": torch.tensor(1.0)}
    adapter = adapters.read(factors | (sparse if is_sparse else {"bias": rest}))
    expected = (factors["lora_up.weight"] @ factors["lora_down.weight"] + rest) * 0.5
    torch.testing.assert_close(adapter.delta(torch.zeros(8, 12), 1.0).weight, expected)


def test_few_elements_of_a_weight_of_another_size():
    sparse = {
        "bias_indices": torch.tensor([[0], [9]]),
        "bias_values": torch.ones(1),
        "bias_size": torch.tensor([9, 99]),
    }
    with pytest.raises(adapters.AdapterError, match="the layer's weight has shape"):
        lora(4, 4, **sparse).delta(torch.zeros(4, 4), 1.0)
    with pytest.raises(adapters.AdapterError, match="the layer's weight has shape"):
        lora(4, 4, **sparse | {"bias_size": torch.tensor([4, 4])}).delta(torch.zeros(4, 4), 1.0)


def test_factor_that_was_trained_is_in_the_others():
    tensors = {"lora_up.weight": torch.ones(2, 1), "lora_down.weight": torch.ones(1, 2)}
    adapter = adapters.read({**tensors, "scalar": torch.tensor(0.25)})
    assert adapter.delta(torch.zeros(2, 2), 1.0).weight.unique().tolist() == [1]


def test_stored_scale_counts_before_alpha():
    adapter = lora(4, 4, alpha=torch.tensor(8.0), scale=torch.tensor(0.3))
    assert adapter.scale == pytest.approx(0.3)


def test_names_of_glora_tell_its_factors_apart():
    torch.manual_seed(0)
    a, a2 = torch.randn(12, 2), torch.randn(2, 12)
    b, b2 = torch.randn(8, 2), torch.randn(2, 12)
    old = adapters.read({"a2.weight": a, "a1.weight": a2, "b2.weight": b, "b1.weight": b2, "alpha": torch.tensor(1.0)})
    new = adapters.read({"a1.weight": a, "a2.weight": a2, "b1.weight": b, "b2.weight": b2, "alpha": torch.tensor(1.0)})
    weight = torch.randn(8, 12)
    assert (old.dim, new.dim) == (2, 2)
    torch.testing.assert_close(old.delta(weight, 1.0).weight, new.delta(weight, 1.0).weight)
    torch.testing.assert_close(old.delta(weight, 1.0).weight, 0.5 * (weight @ a @ a2 + b @ b2))


FUSED = {
    "lora": lambda: {
        "lora_up.weight": torch.randn(12, 2),
        "lora_down.weight": torch.randn(2, 6),
        "alpha": torch.tensor(1.0),
    },
    "lokr": lambda: {"lokr_w1": torch.randn(2, 2), "lokr_w2": torch.randn(6, 3)},
    "full": lambda: {"diff": torch.randn(12, 6), "diff_b": torch.randn(12)},
    "ia3": lambda: {"weight": torch.randn(12), "on_input": torch.tensor(0)},
    "glora": lambda: {
        "a1.weight": torch.randn(2, 6),
        "a2.weight": torch.randn(6, 2),
        "b1.weight": torch.randn(2, 6),
        "b2.weight": torch.randn(12, 2),
    },
    "oft": lambda: {"oft_blocks": torch.randn(6, 2, 2), "alpha": torch.tensor(0.01)},
    "dora": lambda: {
        "lora_up.weight": torch.randn(12, 2),
        "lora_down.weight": torch.randn(2, 6),
        "dora_scale": torch.rand(12, 1),
    },
}


@pytest.mark.parametrize("make", FUSED.values(), ids=FUSED)
def test_rows_of_a_network_for_several_layers(make):
    torch.manual_seed(0)
    whole, weight = adapters.read(make()), torch.randn(12, 6)
    expected = whole.delta(weight, 0.7)
    for start in (0, 4, 8):
        own = slice(start, start + 4)
        part = adapters.Rows.of(whole, start, start + 4, 12)
        delta = part.delta(weight[own], 0.7)
        torch.testing.assert_close(delta.weight, expected.weight[own])
        total = torch.zeros(4, 6)
        part.add_to(total, weight[own], 0.7)
        torch.testing.assert_close(total, expected.weight[own])
        if expected.bias is not None:
            torch.testing.assert_close(delta.bias, expected.bias[own])
            torch.testing.assert_close(part.bias_change(weight[own]) * 0.7, expected.bias[own])
        assert (part.kind, part.dim, part.scale) == (whole.kind, whole.dim, whole.scale)
        assert (part.changes_weight, part.changes_bias) == (whole.changes_weight, whole.changes_bias)
        assert part.depends_on_weight == whole.depends_on_weight


@pytest.mark.parametrize(
    "tensors",
    [
        {"oft_blocks": torch.zeros(2, 3, 4, 4)},
        {"oft_blocks": torch.zeros(4, 3, 3)},
        {"lora_up.weight": torch.ones(12, 2), "lora_down.weight": torch.ones(2, 6), "dora_scale": torch.ones(1, 6)},
    ],
)
def test_network_whose_rows_depend_on_each_other_is_not_split(tensors):
    with pytest.raises(adapters.AdapterError, match="cannot be split"):
        adapters.Rows.of(adapters.read(tensors), 4, 8, 12)


def test_rows_for_a_layer_of_another_size():
    part = adapters.Rows.of(lora(12, 6), 4, 8, 12)
    with pytest.raises(adapters.AdapterError, match=r"the layer's weight has shape \(5, 6\)"):
        part.delta(torch.zeros(5, 6), 1.0)


def test_weights_in_any_type_are_computed_in_float32():
    up, down = torch.randn(8, 2), torch.randn(2, 12)
    for dtype in (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64):
        adapter = adapters.read({"lora_up.weight": up.to(dtype), "lora_down.weight": down.to(dtype)})
        change = adapter.delta(torch.zeros(8, 12), 1.0).weight
        assert change.dtype == torch.float32
        torch.testing.assert_close(change, up.to(dtype).float() @ down.to(dtype).float())


def test_tensors_of_no_kind():
    with pytest.raises(adapters.AdapterError, match="lora_down.weight are the tensors of no known kind"):
        adapters.read({"lora_down.weight": torch.ones(2, 2)})


def test_number_in_place_of_a_factor():
    with pytest.raises(adapters.AdapterError, match="lora_down.weight of the lora holds a single number"):
        lora(2, 2, **{"lora_down.weight": torch.tensor(1.0)})


@pytest.mark.parametrize("name", ["lora_down.weight", "alpha", "scale"])
def test_tensor_of_nothing(name):
    with pytest.raises(adapters.AdapterError, match=f"{name} of the lora holds nothing"):
        lora(2, 2, **{name: torch.zeros(0, 2)})


def test_few_elements_may_be_none():
    none = {"bias_indices": torch.zeros(2, 0), "bias_values": torch.zeros(0), "bias_size": torch.tensor([2, 2])}
    plain = lora(2, 2)
    with_none = adapters.read({**plain.tensors, **none})
    assert torch.equal(with_none.delta(torch.ones(2, 2), 1.0).weight, plain.delta(torch.ones(2, 2), 1.0).weight)
