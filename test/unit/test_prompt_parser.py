import json
import random
import re
from pathlib import Path

import pytest
import torch

from modules import extra_networks, prompt_parser
from modules.errors import InvalidInput
from modules.prompt_parser import ScheduledPromptConditioning, SdConditioning

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "test_vectors.json").read_text(encoding="utf8"))


class CountingModel:
    """Encodes a text as (tokens, 2): a token per word, each [length of the text, number of the call]."""

    def __init__(self):
        self.calls = []

    def get_learned_conditioning(self, texts):
        self.calls.append(texts)
        words = max(len(text.split()) for text in texts)
        return torch.tensor([[[len(text), len(self.calls)]] * words for text in texts], dtype=torch.float32)


class TwoPartModel:
    """Encodes to a dict as models with two encoders do."""

    def get_learned_conditioning(self, texts):
        lengths = torch.tensor([len(text) for text in texts], dtype=torch.float32)
        return {"crossattn": lengths[:, None, None].expand(-1, 3, 2), "vector": lengths[:, None].expand(-1, 4)}


def schedule(prompt, steps, hires_steps=None, old=False):
    (result,) = prompt_parser.get_learned_conditioning_prompt_schedules([prompt], steps, hires_steps, old)
    return result


@pytest.mark.parametrize("row", VECTORS["parse_prompt_attention"], ids=lambda row: row["in"] or "empty")
def test_attention_vectors(row):
    assert prompt_parser.parse_prompt_attention(row["in"]) == row["out"]


@pytest.mark.parametrize("row", VECTORS["prompt_schedules"], ids=lambda row: f"{row['prompt']}-{row['hires_steps']}")
def test_schedule_vectors(row):
    assert schedule(row["prompt"], row["steps"], row["hires_steps"], row["old"]) == row["out"]


@pytest.mark.parametrize("row", VECTORS["multicond"], ids=lambda row: row["in"])
def test_and_vectors(row):
    weighted_parts, texts, _ = prompt_parser.get_multicond_prompt_list([row["in"]])
    assert [list(part) for part in weighted_parts[0]] == row["indexes"]
    assert texts == row["texts"]


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("[:b:3]", ["", "", "", "b"]),
        ("[::3]", ["", "", "", ""]),
        ("[|b]", ["", "b", "", "b"]),
        ("a [{b:c:3]", ["a {b", "a {b", "a {b", "a c"]),
        ("x [y [b:c:3]", ["x [y b", "x [y b", "x [y b", "x [y c"]),
        ("([a:b:3]", ["(a", "(a", "(a", "(b"]),
        ("[a (b] c) [x:y:2]", ["[a (b] c) x", "[a (b] c) x", "[a (b] c) y", "[a (b] c) y"]),
        ("[[a|b]:c:2]", ["a", "b", "c", "c"]),
        ("[a:(b:1.2):3]", ["a", "a", "a", "(b:1.2)"]),
        ("[[b]:2]", ["", "", "[b]", "[b]"]),
        ("[a:b: +2e0 ]", ["a", "a", "b", "b"]),
        ("[a:b:1e999]", ["a", "a", "a", "a"]),
        ("[a:b:-1e999]", ["b", "b", "b", "b"]),
        ("[a:b:[c:d:2]]", ["[a:b:c]", "[a:b:c]", "[a:b:d]", "[a:b:d]"]),
        ("a: b", ["a: b"] * 4),
        ("[a:b:c:3]", ["[a:b:c:3]"] * 4),
        ("(a:b:c)", ["(a:b:c)"] * 4),
        ("a]", ["a]"] * 4),
    ],
)
def test_edits_and_stray_brackets(prompt, texts):
    entries_of_prompt = schedule(prompt, 4)
    assert [next(text for end, text in entries_of_prompt if step <= end) for step in (1, 2, 3, 4)] == texts


@pytest.mark.parametrize("prompt", ["a|b [x:y:2]", "[a|b:3] [x:y:2]", "(a|b) [x:y:2]", "[(a|b] [x:y:2]", "[x:y:2] \\"])
def test_text_outside_the_syntax_is_not_scheduled_at_all(prompt):
    assert schedule(prompt, 4) == [[4, prompt]]


def test_deep_nesting_is_read():
    depth = 5000
    assert schedule("[" * depth + "a" + ":1]" * depth, 3) == [[1, ""], [3, "a"]]


def test_switch_step_of_the_hires_pass_counts_on():
    assert schedule("a [b:1.5] c", 10, 10) == [[5, "a  c"], [10, "a b c"]]
    assert schedule("a [b:.5] c", 10, 10) == [[10, "a b c"]]


def test_equal_prompts_share_a_schedule():
    first, second = prompt_parser.get_learned_conditioning_prompt_schedules(["[a|b]", "[a|b]"], 3)
    assert first is second


def test_weight_that_is_no_number_names_itself():
    with pytest.raises(InvalidInput, match=r'"1\.2\.3"') as caught:
        prompt_parser.parse_prompt_attention("(a:1.2.3)")
    assert caught.value.field == "prompt"


def test_weight_without_open_bracket_is_text():
    assert prompt_parser.parse_prompt_attention("a :1.2.3)") == [["a :1.2.3)", 1.0]]


def test_unclosed_square_bracket_reaches_to_the_end():
    assert prompt_parser.parse_prompt_attention("a [b") == [["a ", 1.0], ["b", 1 / 1.1]]


def test_sd_conditioning_inherits_from_the_list_it_copies():
    prompts = SdConditioning(["a"], is_negative_prompt=True, width=64, height=32)
    copy = SdConditioning(prompts)
    part = SdConditioning(["b", "c"], copy_from=prompts)
    assert (copy.is_negative_prompt, copy.width, copy.height) == (True, 64, 32)
    assert part == ["b", "c"] and part.width == 64
    assert SdConditioning(["a"]).width is None


def test_each_prompt_is_encoded_once_with_all_its_texts():
    model = CountingModel()
    prompts = SdConditioning(["[a|bc]", "d", "[a|bc]"], width=64)
    first, second, third = prompt_parser.get_learned_conditioning(model, prompts, 2)
    assert model.calls == [["a", "bc"], ["d"]]
    assert model.calls[0].width == 64
    assert first is third
    assert [entry.end_at_step for entry in first] == [1, 2]
    assert first[1].cond.tolist() == [[2.0, 1.0]]
    assert second[0].cond.tolist() == [[1.0, 2.0]]


def test_equal_and_parts_are_encoded_once():
    model = CountingModel()
    conds = prompt_parser.get_multicond_learned_conditioning(model, ["x AND y :2", "y AND x"], 1)
    assert conds.shape == (2,)
    assert model.calls == [["x"], [" y"], ["y"], [" x"]]
    assert [[part.weight for part in parts] for parts in conds.batch] == [[1.0, 2.0], [1.0, 1.0]]


def entries(*pairs):
    return [ScheduledPromptConditioning(step, torch.full((tokens, 2), value)) for step, tokens, value in pairs]


def test_step_chooses_the_first_entry_that_has_not_ended():
    schedules = [entries((2, 1, 1.0), (4, 1, 2.0))]
    values = [prompt_parser.reconstruct_cond_batch(schedules, step)[0, 0, 0].item() for step in range(7)]
    assert values == [1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0]  # beyond the last end step: the first entry


def test_shorter_conditioning_repeats_its_last_vector():
    short = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    stacked = prompt_parser.stack_conds([short, torch.zeros(4, 2)])
    assert stacked.shape == (2, 4, 2)
    assert stacked[0].tolist() == [[1.0, 2.0], [3.0, 4.0], [3.0, 4.0], [3.0, 4.0]]


def test_negative_prompts_of_different_length_are_filled_up_too():
    batch = prompt_parser.reconstruct_cond_batch([entries((1, 1, 1.0)), entries((1, 3, 2.0))], 0)
    assert batch[:, :, 0].tolist() == [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]


def test_rows_of_and_parts():
    conds = prompt_parser.get_multicond_learned_conditioning(CountingModel(), ["x AND y z:0.5", "w"], 1)
    rows, stacked = prompt_parser.reconstruct_multicond_batch(conds, 0)
    assert rows == [[(0, 1.0), (1, 0.5)], [(2, 1.0)]]
    assert stacked.shape == (3, 2, 2)


def test_conditioning_of_several_tensors_passes_through():
    prompts = ["abc AND de", "f"]
    conds = prompt_parser.get_multicond_learned_conditioning(TwoPartModel(), prompts, 1)
    _, stacked = prompt_parser.reconstruct_multicond_batch(conds, 0)
    assert stacked.shape == (3, 3, 2)
    assert stacked["vector"].shape == (3, 4)
    assert stacked["vector"][:, 0].tolist() == [3.0, 3.0, 1.0]

    negative = prompt_parser.get_learned_conditioning(TwoPartModel(), ["[a|bb]"], 2)
    batch = prompt_parser.reconstruct_cond_batch(negative, 2)
    assert batch.shape == (1, 3, 2)
    assert batch["crossattn"][0, 0, 0] == 2.0


def multiplied_one_by_one(text):
    """What parse_prompt_attention returns, as directly as it can be said: each bracket goes over all its pieces."""
    pieces, starts = [], {"(": [], "[": []}

    def multiply(opening, factor):
        for piece in pieces[starts[opening].pop() :]:
            piece[1] *= factor

    for match in prompt_parser.re_attention.finditer(text):
        token, weight = match[0], match[1]
        if token in starts:
            starts[token].append(len(pieces))
        elif starts["("] and (weight is not None or token == ")"):
            multiply("(", 1.1 if weight is None else float(weight))
        elif starts["["] and token == "]":
            multiply("[", 1 / 1.1)
        elif token.startswith("\\"):
            pieces.append([token[1:], 1.0])
        else:
            for i, part in enumerate(re.split(r"\s*\bBREAK\b\s*", token)):
                pieces += [["BREAK", -1]] * (i > 0) + [[part, 1.0]]
    for opening, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in starts[opening]:
            for piece in pieces[start:]:
                piece[1] *= factor
    merged = []
    for text, weight in pieces or [["", 1.0]]:
        if merged and merged[-1][1] == weight:
            merged[-1][0] += text
        else:
            merged.append([text, weight])
    return merged


def test_weights_are_multiplied_in_the_order_in_which_brackets_close():
    tokens = ["(", ")", "[", "]", ":1.3)", ": 0.7 )", ":", "\\", " ", "\u3000", "a", "b c", "BREAK", " BREAK ", "1"]
    draw = random.Random(1)
    for _ in range(2000):
        text = "".join(draw.choices(tokens, k=draw.randrange(16)))
        assert prompt_parser.parse_prompt_attention(text) == multiplied_one_by_one(text), text


LONG = 10_000


@pytest.mark.parametrize(
    "text",
    [
        "(" * LONG,
        "(a" * LONG,
        "[(" * LONG + "a" + ")]" * LONG,
        "(" * LONG + ")" * LONG,
        "[" * LONG + "]" * LONG,
        "\\(" * LONG,
        " " * LONG + "a",
        "[a:b:" + "1" * LONG + "x]",
        "a:" + "1" * LONG + "x",
        "a, " * LONG + " " * LONG + "x",
        "<a:" * LONG,
        "(a:" * LONG,
    ],
    ids=lambda text: text[:6],
)
def test_long_texts_are_read_in_time_that_grows_with_their_length(text):
    pieces = prompt_parser.parse_prompt_attention(text)
    assert "".join(piece for piece, _ in pieces) == re.sub(r"\\(?=\()|(?<!\\)[(\[\])]", "", text)
    assert schedule(text, 20) == [[20, text]]
    assert prompt_parser.get_multicond_prompt_list([text])[1] == [text]
    assert extra_networks.parse_prompt(text) == (text, {})
