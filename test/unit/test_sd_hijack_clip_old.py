import pytest
import torch

from modules import sd_hijack_clip_old
from modules.shared import opts
from modules.textual_inversion.textual_inversion import Embedding
from test.unit.tiny_networks import END, START, tiny_clip


@pytest.fixture
def clip():
    with opts.overlay({"use_old_emphasis_implementation": True}):
        yield tiny_clip()


def line(clip, text):
    (result,) = sd_hijack_clip_old.process_text_old(clip, [text])
    return result


def test_weights_of_bracket_tokens():
    weights = sd_hijack_clip_old.bracket_weights({"(": 1, "((</w>": 2, "[": 3, "()": 4, "a": 5, "](": 6, ":)": 7})
    assert weights == {1: 1.1, 2: 1.1 * 1.1, 3: 1 / 1.1, 6: 1.1 * 1.1, 7: 1 / 1.1}


def test_brackets_change_the_running_weight_and_vanish(clip):
    result = line(clip, "a (red) [apple")
    assert result.tokens == [START, 320, 736, 3055] + [END] * 73
    assert result.multipliers == pytest.approx([1.0, 1.0, 1.1, 1 / 1.1] + [1.0] * 73)


def test_emphasis_none_keeps_brackets(clip):
    with opts.overlay({"emphasis": "None"}):
        result = line(clip, "(red")
    assert result.tokens[1:3] == clip.tokenize(["(red"])[0]
    assert set(result.multipliers) == {1.0}


def test_excess_is_cut_off_with_a_comment(clip):
    result = line(clip, "a " * 75 + "red apple")
    assert result.tokens == [START] + [320] * 75 + [END]
    assert len(result.multipliers) == 77
    (comment,) = clip.hijack.comments
    assert "2 tokens" in comment and "red apple" in comment


def test_embeddings_are_placed_and_named(clip):
    embedding = Embedding(torch.ones(2, 16), "thing")
    clip.hijack.embedding_db.ids_lookup[736] = [([736, 3055], embedding)]
    result = line(clip, "a (red apple")
    assert result.fixes == [(1, embedding)]
    assert result.tokens[:4] == [START, 320, 0, 0]
    assert result.multipliers[2:4] == [1.1, 1.1]
    clip(["red apple"])
    assert clip.hijack.comments == [f"Used embeddings: thing [{embedding.checksum()}]"]


def test_encoding_ignores_new_syntax(clip):
    out = clip(["a BREAK red", "a"])
    assert out.shape == (2, 77, 16)
    with opts.overlay({"use_old_emphasis_implementation": False}):
        assert torch.allclose(out[1:], clip(["a"]), atol=1e-6)
