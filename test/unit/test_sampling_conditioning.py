from dataclasses import FrozenInstanceError

import pytest
import torch

from modules import prompt_parser, torchvision_ops
from modules.sampling import conditioning
from modules.sampling.conditioning import SIZE_WIDTH, Conditioning, ConditioningError, DictWithShape


def tokens(*values, length=2):
    """(len(values), length, 1) with one value per row."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1).repeat(1, length, 1)


def vector(*values):
    """(len(values), 3)"""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1).repeat(1, 3)


def full(*values, length=2):
    """All four parts, with one value per row."""
    numbers = torch.tensor(values, dtype=torch.float32)
    image, size = numbers.view(-1, 1, 1, 1).repeat(1, 5, 2, 2), numbers.view(-1, 1).repeat(1, 6)
    return Conditioning(tokens(*values, length=length), vector(*values), image, size)


def first_numbers(cond):
    """Per part the first number of each row."""
    parts = (cond.tokens, cond.vector, cond.concat, cond.size)
    return [None if part is None else part.flatten(1)[:, 0].tolist() for part in parts]


class TestReading:
    def test_takes_just_the_text(self):
        text = tokens(1, 2)
        for given in (text, [text], (text,), {"c_crossattn": [text]}, {"crossattn": text}, Conditioning(text)):
            cond = Conditioning.of(given)
            assert cond.tokens is text
            assert (cond.vector, cond.concat, cond.size) == (None, None, None)

    def test_takes_every_key_that_is_known(self):
        text, pooled, image, size = tokens(1), vector(1), torch.ones(1, 5, 2, 2), torch.ones(1, 6)
        for given in (
            {"c_crossattn": [text], "c_adm": pooled, "c_concat": [image], "time_ids": size},
            {"crossattn": text, "vector": pooled, "concat": image, "time_ids": [size]},
        ):
            cond = Conditioning.of(given)
            assert cond.tokens is text
            assert cond.vector is pooled
            assert cond.concat is image
            assert cond.size is size

    def test_joins_pieces_side_by_side(self):
        images = [torch.ones(1, 1, 2, 2), torch.ones(1, 4, 2, 2)]
        cond = Conditioning.of({"c_crossattn": [tokens(1), tokens(2)], "c_concat": images})
        assert cond.tokens.flatten().tolist() == [1, 1, 2, 2]
        assert cond.concat.shape == (1, 5, 2, 2)

    def test_none_and_no_pieces_are_no_part(self):
        cond = Conditioning.of({"c_crossattn": [tokens(1)], "c_concat": None, "c_adm": None, "concat": []})
        assert (cond.concat, cond.vector) == (None, None)

    def test_leaves_its_own_kind_alone(self):
        cond = full(1)
        assert Conditioning.of(cond) is cond

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"crossattn": tokens(1), "guidance": vector(1)}, "'guidance'"),
            ({"crossattn": tokens(1), "guidance": None}, "'guidance'"),
            ({"crossattn": tokens(1), "c_crossattn": [tokens(1)]}, "tokens twice, once as 'c_crossattn'"),
            ({"vector": vector(1)}, "no text"),
            ({"c_crossattn": []}, "no text"),
            ([], "no text"),
        ],
    )
    def test_names_what_is_wrong(self, given, named):
        with pytest.raises(ConditioningError, match=named):
            Conditioning.of(given)


class TestGiving:
    """The forms that extensions see."""

    def test_text_alone_is_a_tensor(self):
        cond = Conditioning(tokens(1, 2), concat=torch.ones(2, 5, 2, 2))
        assert cond.cond is cond.tokens
        assert cond.mapping.keys() == {"c_crossattn", "c_concat"}
        assert cond.mapping["c_crossattn"][0] is cond.tokens
        assert cond.mapping["c_concat"][0] is cond.concat
        assert Conditioning(tokens(1)).mapping.keys() == {"c_crossattn"}

    def test_with_a_vector_it_is_a_dict_with_the_shape_of_the_tokens(self):
        cond = Conditioning(tokens(1, 2), vector(1, 2))
        assert cond.cond.shape == (2, 2, 1)
        assert cond.cond["crossattn"] is cond.tokens
        assert cond.cond["vector"] is cond.vector
        assert cond.mapping.keys() == {"crossattn", "vector"}

    def test_the_vector_of_the_dict_has_the_size_in_it(self):
        cond = Conditioning(tokens(1, 2), vector(1, 2), size=torch.arange(12.0).view(2, 6))
        whole = cond.cond["vector"]
        assert whole.shape == (2, 3 + 6 * SIZE_WIDTH)
        assert torch.equal(whole[:, :3], cond.vector)
        assert torch.equal(whole[:, 3:], conditioning.sinusoids(cond.size))
        assert torch.equal(cond.mapping["vector"], whole)

    def test_both_forms_are_read_as_the_same(self):
        cond = Conditioning(tokens(1, 2), vector(1, 2), torch.ones(2, 5, 2, 2))
        assert first_numbers(Conditioning.of(cond.mapping)) == first_numbers(cond)
        assert first_numbers(Conditioning.of(cond.cond)) == [[1, 2], [1, 2], None, None]

    def test_a_size_without_a_vector_belongs_to_nothing(self):
        with pytest.raises(ConditioningError, match="time_ids"):
            Conditioning(tokens(1), size=torch.ones(1, 6)).cond  # noqa: B018


class TestRows:
    def test_are_cut_from_every_part(self):
        assert first_numbers(full(1, 2, 3).rows(1, 3)) == [[2, 3]] * 4
        assert first_numbers(Conditioning(tokens(1, 2)).rows(0, 1)) == [[1], None, None, None]

    def test_are_joined_in_every_part(self):
        assert first_numbers(Conditioning.cat([full(1, 2), full(3)])) == [[1, 2, 3]] * 4

    def test_are_split_into_pieces(self):
        pieces = list(full(1, 2, 3).split(2))
        assert [first_numbers(piece) for piece in pieces] == [[[1, 2]] * 4, [[3]] * 4]
        assert [piece.batch for piece in pieces] == [2, 1]

    def test_need_the_same_parts_to_be_joined(self):
        with pytest.raises(ConditioningError, match="Only 1 of 2 conditionings have vector"):
            Conditioning.cat([Conditioning(tokens(1), vector(1)), Conditioning(tokens(2))])


class TestLength:
    def test_padding_appends_empty_prompts_and_nothing_else(self):
        cond, empty = full(1, 2), Conditioning(tokens(9), vector(7))
        padded = cond.pad(empty, 2)
        assert padded.tokens[:, :, 0].tolist() == [[1, 1, 9, 9, 9, 9], [2, 2, 9, 9, 9, 9]]
        assert padded.vector is cond.vector
        assert padded.size is cond.size
        assert cond.length == 2
        assert cond.pad(empty, 0).tokens.tolist() == cond.tokens.tolist()

    def test_fitting_repeats_the_last_vector_or_cuts(self):
        cond = full(1, 2, length=3)
        cond.tokens[:, -1] = 7
        assert cond.fit(5).tokens[0, :, 0].tolist() == [1, 1, 7, 7, 7]
        assert cond.fit(1).tokens[:, :, 0].tolist() == [[1], [2]]
        assert cond.fit(3).tokens.tolist() == cond.tokens.tolist()
        assert cond.fit(5).vector is cond.vector

    def test_single_texts_are_stacked_at_the_longest(self):
        short = {"crossattn": torch.tensor([[1.0], [2.0]]), "vector": torch.tensor([5.0])}
        long = {"crossattn": torch.full((4, 1), 3.0), "vector": torch.tensor([6.0])}
        stacked = Conditioning.stack([short, long])
        assert stacked.tokens[:, :, 0].tolist() == [[1, 2, 2, 2], [3, 3, 3, 3]]
        assert stacked.vector.tolist() == [[5], [6]]

    def test_a_stack_does_not_share_memory_with_what_is_kept_for_the_next_step(self):
        text = torch.zeros(2, 1)
        Conditioning.stack([text]).tokens.add_(1)
        assert text.flatten().tolist() == [0, 0]


def test_casting_leaves_the_size_exact():
    """2049 has no float16, and 257 no bfloat16."""
    cast = full(2049).to(torch.float16)
    assert [part.dtype for part in (cast.tokens, cast.vector, cast.concat)] == [torch.float16] * 3
    assert cast.size.tolist() == [[2049.0] * 6]
    assert full(1).to(device="meta").size.device.type == "meta"
    assert Conditioning(tokens(1)).to(torch.float64).tokens.dtype == torch.float64


def test_is_a_value():
    with pytest.raises(FrozenInstanceError):
        full(1).tokens = tokens(2)


def test_sinusoids_are_those_of_diffusers():
    torchvision_ops.declare_missing()
    from diffusers.models.embeddings import Timesteps

    sizes = torch.tensor([[1024.0, 1024, 0, 0, 1152, 896], [2049, 512, 3, 7, 6.0, 2.5]])
    theirs = Timesteps(SIZE_WIDTH, flip_sin_to_cos=True, downscale_freq_shift=0)(sizes.flatten()).reshape(2, -1)
    assert torch.equal(conditioning.sinusoids(sizes), theirs)


def test_names_that_extensions_know():
    assert prompt_parser.DictWithShape is DictWithShape
    assert DictWithShape({"crossattn": tokens(1), "vector": vector(1)}, shape=None).shape == (1, 2, 1)
