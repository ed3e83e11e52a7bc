import pytest
import torch

from modules.prompt_parser import DictWithShape
from modules.sampling import guidance
from test.unit.sampling_oracles import VECTORS


def tokens(*values, length=2):
    """(len(values), length, 1) with one value per row."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1).repeat(1, length, 1)


def two_part_cond(*values, length=2):
    return DictWithShape({"crossattn": tokens(*values, length=length), "vector": torch.tensor(values).view(-1, 1)})


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


def test_conds_are_joined_and_cut_along_the_batch():
    joined = guidance.catenate_conds([tokens(1, 2), tokens(3)])
    assert joined[:, 0, 0].tolist() == [1, 2, 3]
    assert guidance.subscript_cond(joined, 1, 3)[:, 0, 0].tolist() == [2, 3]
    assert [piece.shape[0] for piece in guidance.split_cond(joined, 2)] == [2, 1]


def test_conds_with_several_tensors_are_joined_and_cut_key_by_key():
    joined = guidance.catenate_conds([two_part_cond(1, 2), two_part_cond(3)])
    assert joined["vector"].flatten().tolist() == [1, 2, 3]
    cut = guidance.subscript_cond(joined, 1, 3)
    assert cut["crossattn"][:, 0, 0].tolist() == [2, 3]
    assert [piece["vector"].flatten().tolist() for piece in guidance.split_cond(joined, 2)] == [[1, 2], [3]]


def test_padding_appends_empty_prompts():
    empty = torch.full((1, 2, 1), 9.0)
    padded = guidance.pad_cond(tokens(1, 2), 2, empty)
    assert padded[:, :, 0].tolist() == [[1, 1, 9, 9, 9, 9], [2, 2, 9, 9, 9, 9]]


def test_padding_leaves_its_argument_alone_and_keeps_its_kind():
    cond = two_part_cond(1, 2)
    padded = guidance.pad_cond(cond, 1, torch.zeros(1, 2, 1))
    assert padded.shape == (2, 4, 1)
    assert padded["vector"] is cond["vector"]
    assert cond.shape == (2, 2, 1)


@pytest.mark.parametrize("make", [tokens, two_part_cond])
def test_fitting_repeats_the_last_vector_or_cuts(make):
    cond = make(1, 2, length=3)
    guidance.tokens_of(cond)[:, -1] = 7
    assert guidance.tokens_of(guidance.fit_length(cond, 5))[0, :, 0].tolist() == [1, 1, 7, 7, 7]
    assert guidance.tokens_of(guidance.fit_length(cond, 1))[:, :, 0].tolist() == [[1], [2]]


def test_rows_are_repeated_and_picked():
    x = torch.arange(3.0).view(3, 1, 1, 1)
    assert guidance.repeat_rows(x, [2, 1, 3]).flatten().tolist() == [0, 0, 1, 2, 2, 2]
    assert guidance.pick_rows(x, [0, 2]).flatten().tolist() == [0, 2]
    assert guidance.pick_rows(x, [1, 2]).data_ptr() == x[1].data_ptr()
