import json
import re
from itertools import groupby
from pathlib import Path

import pytest
import torch

from modules import sd_emphasis
from modules.errors import InvalidInput
from modules.sd_hijack_clip import EncoderSettings, PromptChunk, TextConditionalModel
from modules.shared import opts
from modules.textual_inversion.textual_inversion import Embedding
from test.unit.tiny_networks import COMMA, EMBEDDING, END, START, ToyEncoder, TwoClips, tiny_clip

ROWS = json.loads((Path(__file__).parents[1] / "data" / "chunk_vectors.json").read_text(encoding="utf8"))["rows"]


@pytest.fixture
def toy():
    encoder = ToyEncoder()
    encoder.hijack.embedding_db.ids_lookup[EMBEDDING] = [([EMBEDDING], Embedding(torch.zeros(3, 4), "emb1"))]
    return encoder


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def ids_of(notation):
    """Token ids of the vectors' notation: S, E, "E*n ", ",", 0, [n]."""
    ids = []
    for token, number, repeats in re.findall(r"(\[(\d+)\]|S|E(?:\*(\d+) )?|,|0)", notation):
        token_id = int(number) if number else {"S": START, "E": END, ",": COMMA, "0": 0}[token[0]]
        ids += [token_id] * int(repeats or 1)
    return ids


def run_lengths(multipliers):
    return [[pytest.approx(weight), len(list(group))] for weight, group in groupby(multipliers)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
def test_chunk_vectors(toy, row):
    with opts.overlay({"comma_padding_backtrack": row["comma_backtrack"]}):
        chunks, token_count = toy.tokenize_line(row["text"])
    assert token_count == row["token_count"]
    assert [chunk.tokens for chunk in chunks] == [ids_of(chunk["tokens"]) for chunk in row["chunks"]]
    for chunk, expected in zip(chunks, row["chunks"], strict=True):
        assert run_lengths(chunk.multipliers) == expected["multipliers_run_length"]
        assert [[fix.offset, fix.embedding.name] for fix in chunk.fixes] == expected["fixes"]


def test_emphasis_none_reads_no_syntax(toy):
    with opts.overlay({"emphasis": "None"}):
        chunks, _ = toy.tokenize_line("(w1:1.5) BREAK w2")
    (chunk,) = chunks
    assert chunk.multipliers == [1.0] * 77
    assert chunk.tokens[2] == 900  # BREAK is a word


def test_embedding_longer_than_a_chunk_is_refused(toy):
    toy.hijack.embedding_db.ids_lookup[EMBEDDING] = [([EMBEDDING], Embedding(torch.zeros(76, 4), "emb1"))]
    with pytest.raises(InvalidInput, match=r'"emb1" has 76 vectors'):
        toy.tokenize_line("w1 emb1")


@pytest.mark.parametrize(("count", "target"), [(0, 75), (1, 75), (75, 75), (76, 150), (151, 225)])
def test_target_token_count(toy, count, target):
    assert toy.get_target_prompt_token_count(count) == target


def test_empty_chunk(toy):
    assert toy.empty_chunk() == PromptChunk([START] + [END] * 76, [1.0] * 77, [])


def test_process_texts_counts_the_longest_text(toy):
    chunks, token_count = toy.process_texts(["w1", "w1 BREAK w2 w3", "w1"])
    assert token_count == 77
    assert [len(c) for c in chunks] == [1, 2, 1]
    assert chunks[0] is chunks[2]


def test_missing_chunks_are_filled_with_the_empty_one(toy):
    out = toy(["w1", "w2 BREAK w3"])
    assert out.shape == (2, 154, 1)
    assert out[0, 77:, 0].tolist() == [START] + [END] * 76
    assert out[1, 78, 0] == 1003


def test_chunks_are_encoded_one_after_the_other_for_all_texts(toy):
    toy(["w1 BREAK w2", "w3"])
    assert [tuple(tokens.shape) for tokens in toy.seen_tokens] == [(2, 77), (2, 77)]


def test_other_pad_id_follows_the_first_end_token():
    encoder = ToyEncoder(id_pad=0)
    out = encoder(["w1"])[0, :, 0].tolist()
    assert out == [START, 1001, END] + [0] * 74


def test_embedding_hashes_go_to_the_infotext(toy):
    embedding = Embedding(torch.zeros(3, 4), "a:b,c")
    embedding.set_hash("0123456789abcdef")
    toy.hijack.embedding_db.ids_lookup[EMBEDDING] = [([EMBEDDING], embedding)]
    params = toy.hijack.extra_generation_params
    toy(["w1 emb1"])
    assert params == {"TI hashes": "abc: 0123456789ab"}
    toy(["emb1"])
    assert params == {"TI hashes": "abc: 0123456789ab, abc: 0123456789ab"}
    with opts.overlay({"textual_inversion_add_hashes_to_infotext": False}):
        toy.hijack.extra_generation_params.clear()
        toy(["emb1"])
    assert not params


def test_embedding_without_hash_is_not_mentioned(toy):
    toy(["emb1"])
    assert toy.hijack.extra_generation_params == {}


def test_modes_of_extensions_are_values_of_the_setting(toy, monkeypatch):
    class Doubled(sd_emphasis.Emphasis):
        name = "Doubled"

    with pytest.raises(InvalidInput, match="emphasis is 'doubled'"):
        opts.read_choice("emphasis", "doubled")
    monkeypatch.setattr(sd_emphasis, "options", [*sd_emphasis.options, Doubled])
    assert opts.read_choice("emphasis", "doubled") == "Doubled"


@pytest.mark.parametrize(
    ("text", "emphasis", "written"),
    [("(w1)", "No norm", True), ("[w1]", "No norm", True), ("w1", "No norm", False), ("(w1)", "Original", False)],
)
def test_emphasis_goes_to_the_infotext(toy, text, emphasis, written):
    with opts.overlay({"emphasis": emphasis}):
        toy([text])
    assert toy.hijack.extra_generation_params == ({"Emphasis": emphasis} if written else {})


def test_weights_multiply_the_vectors(toy):
    with opts.overlay({"emphasis": "No norm"}):
        weighted, plain = toy(["w1 (w2:1.5)", "w1 w2"])
    assert weighted[2] == 1.5 * plain[2]
    assert torch.equal(weighted[:2], plain[:2])


def test_base_class_leaves_tokens_and_network_to_others():
    encoder = TextConditionalModel()
    for method, args in [
        ("tokenize", [[]]),
        ("encode_with_transformers", [None]),
        ("encode_embedding_init_text", ["", 1]),
        ("set_token_embedding", [None]),
    ]:
        with pytest.raises(NotImplementedError):
            getattr(encoder, method)(*args)


def test_clip_token_ids(clip):
    assert clip.tokenize(["a red apple, 5", ""]) == [[320, 736, 3055, 267, 276], []]
    assert (clip.comma_token, clip.id_start, clip.id_end, clip.id_pad) == (267, 49406, 49407, 49407)


def test_clip_repairs_text_before_it_is_cut(clip):
    assert clip.tokenize(["don’t ＣＡＴ"]) == clip.tokenize(["don't cat"])
    assert clip.tokenize(["ΣΑΣ"]) == clip.tokenize(["σας"])


def test_clip_encodes_to_the_last_layer(clip):
    tokens = torch.tensor([[START, 320, 736, 3055] + [END] * 73])
    expected = clip.wrapped.transformer(input_ids=tokens).last_hidden_state
    assert torch.equal(clip(["a red apple"]), expected)


def test_clip_skip_takes_an_earlier_layer_through_the_final_norm(clip):
    tokens = torch.tensor([[START, 320] + [END] * 75])
    text_model = clip.wrapped.transformer.text_model
    hidden_states = text_model(input_ids=tokens, output_hidden_states=True).hidden_states
    for skip in (2, 3):
        with opts.overlay({"CLIP_stop_at_last_layers": skip}):
            assert torch.equal(clip(["a"]), text_model.final_layer_norm(hidden_states[-skip]))


def test_clip_skip_beyond_the_layers_names_the_setting(clip):
    with opts.overlay({"CLIP_stop_at_last_layers": 4}), pytest.raises(InvalidInput, match="at most 3") as caught:
        clip(["a"])
    assert caught.value.field == "CLIP_stop_at_last_layers"


def test_clip_parameters_have_their_names_in_checkpoints(clip):
    assert "wrapped.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight" in clip.state_dict()


def test_text_is_summed_up_by_its_first_chunk():
    encoder = TwoClips().second
    tokens, pooled = encoder(["a (red:1.5) apple BREAK a cat", "a"])
    assert (tokens.shape, pooled.shape) == ((2, 154, 24), (2, 24))
    (first,), _ = encoder.process_texts(["a red apple"])
    assert torch.equal(pooled[0], encoder.process_tokens([first[0].tokens], [first[0].multipliers]).pooled[0])


def test_old_emphasis_sums_texts_up_too():
    encoder = TwoClips().second
    with opts.overlay({"use_old_emphasis_implementation": True}):
        tokens, pooled = encoder(["a red apple"])
    assert (tokens.shape, pooled.shape) == ((1, 77, 24), (1, 24))


def test_settings_of_the_job_count(toy):
    overrides = {
        "emphasis": "No norm",
        "comma_padding_backtrack": 7,
        "CLIP_stop_at_last_layers": 2,
        "use_old_emphasis_implementation": True,
    }
    with opts.overlay(overrides):
        assert toy.settings == EncoderSettings("No norm", comma_backtrack=7, clip_skip=2, is_old=True)
    assert toy.settings == EncoderSettings("Original", comma_backtrack=20, clip_skip=1, is_old=False)


def test_encoder_is_told_by_its_row():
    two = TwoClips()
    assert list(two.encoders) == ["clip_l", "clip_g"]
    assert two.second.encoders == {"clip_g": two.second}
    assert (two.second.embedding_key, two.second.tokenizer_name) == ("clip_g", "clip-tokenizer")


def test_clip_init_text_gives_rows_of_the_token_embedding(clip):
    weight = clip.wrapped.transformer.text_model.embeddings.token_embedding.weight
    assert torch.equal(clip.encode_embedding_init_text("a red apple", 2), weight[[320, 736]])
    assert clip.encode_embedding_init_text(",", 1).shape == (1, 16)
    assert clip.encode_embedding_init_text("", 1).shape == (0, 16)
