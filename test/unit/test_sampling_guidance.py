import pytest
import torch

from modules.sampling import guidance
from test.unit.sampling_oracles import VECTORS


def test_combines_the_parts_of_each_image():
    row = VECTORS["cfg_combine"]
    x_out = torch.tensor([1.0, 2.0, 4.0, 0.5, -1.0]).view(5, 1, 1, 1)
    (first, second), (other,) = row["weights"]
    conds_list = [[(0, first), (1, second)], [(2, other)]]
    combined = guidance.combine(x_out, conds_list, x_out[-2:], row["scale"])
    assert combined.flatten().tolist() == pytest.approx(row["out"])
    assert x_out.flatten().tolist() == [1.0, 2.0, 4.0, 0.5, -1.0]


def test_combines_prompt_and_picture():
    row = VECTORS["cfg_combine_pix2pix"]
    x_out = torch.tensor([1.0, 0.5, -1.0]).view(3, 1, 1, 1)
    assert guidance.combine_edit(x_out, row["scale"], row["image_cfg_scale"]).flatten().tolist() == row["out"]


def test_rows_are_repeated_and_picked():
    x = torch.arange(3.0).view(3, 1, 1, 1)
    assert guidance.repeat_rows(x, [2, 1, 3]).flatten().tolist() == [0, 0, 1, 2, 2, 2]
    assert guidance.pick_rows(x, [0, 2]).flatten().tolist() == [0, 2]
    assert guidance.pick_rows(x, [1, 2]).data_ptr() == x[1].data_ptr()
