import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules import infotext

DATA = Path(__file__).parents[1] / "data"
VECTORS = json.loads((DATA / "test_vectors.json").read_text(encoding="utf8"))


@pytest.mark.parametrize("row", VECTORS["quote"], ids=lambda row: repr(row["in"]))
def test_quote_vectors(row):
    quoted = infotext.quote(row["in"])
    assert quoted == row["out"]
    assert type(quoted) is type(row["out"])


@pytest.mark.parametrize("row", VECTORS["unquote"], ids=lambda row: repr(row["in"]))
def test_unquote_vectors(row):
    assert infotext.unquote(row["in"]) == row["out"]


@pytest.mark.parametrize("row", VECTORS["parameter_pairs"], ids=lambda row: row["line"][:20])
def test_pairs_of_a_line(row):
    assert [list(pair) for pair in infotext.re_param.findall(row["line"])] == row["pairs"]


def test_objects_are_quoted_by_their_text():
    assert infotext.quote({"a": Path("x")}) == '{"a": "x"}'


def test_build_leaves_out_what_is_none_and_shortens_flags():
    parameters = {"Steps": 20, "Flag": "Flag", "Nothing": None, "Note": "a, b"}
    assert infotext.build_infotext("cat", "", parameters) == 'cat\nSteps: 20, Flag, Note: "a, b"'
    assert infotext.build_infotext("", "dog", {"Steps": 20}) == "Negative prompt: dog\nSteps: 20"


def test_few_pairs_belong_to_the_prompt():
    assert infotext.split_infotext("p\nSteps: 20, Seed: 5") == ("p\nSteps: 20, Seed: 5", "", "")


def test_empty_value_is_ignored(caplog):
    assert infotext.parse_parameters("Steps: , Seed: 5") == {"Seed": "5"}
    assert "'Steps'" in caplog.text


def test_sizes_become_two_keys():
    assert infotext.parse_parameters("Size: 512x768, Foo bar: 1x2x3") == {
        "Size-1": "512",
        "Size-2": "768",
        "Foo bar": "1x2x3",
    }


PROMPT_LINE = st.text(
    st.characters(codec="utf8", exclude_categories=["C", "Z"]) | st.sampled_from(' ,:"\\'), min_size=1
).map(str.strip)
KEYS = (
    st.text(st.sampled_from("abcXYZ 12-/"), min_size=3)
    .map(str.strip)
    .filter(lambda key: infotext.re_param.match(f"{key}: 1"))
)
VALUES = (
    st.text(st.characters(codec="utf8", exclude_characters='"\r'), min_size=1)
    .map(str.strip)
    .filter(lambda value: value and not infotext.re_imagesize.match(value))
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('Hashes: {"model": "1a", "vae": "2b"}, Seed: 5', {"Hashes": '{"model": "1a", "vae": "2b"}', "Seed": "5"}),
        ("Mark: [] x, Seed: 5", {"Mark": "[] x", "Seed": "5"}),
        ("Mark: [1, Seed: 5", {"Mark": "[1", "Seed": "5"}),
    ],
)
def test_bare_json_is_one_value_and_other_brackets_are_text(line, expected):
    assert infotext.parse_parameters(line) == expected


@given(st.dictionaries(KEYS, VALUES, min_size=3, max_size=6))
def test_built_values_are_read_back(parameters):
    expected = {key: value for key, value in parameters.items() if key != value}
    assert infotext.parse_parameters(infotext.build_parameters(expected)) == expected


@given(PROMPT_LINE, PROMPT_LINE)
def test_built_prompts_are_read_back(prompt, negative_prompt):
    text = infotext.build_infotext(prompt, negative_prompt, {"Steps": 20, "Sampler": "Euler", "Seed": 1})
    parsed = infotext.parse_infotext(text)
    if not prompt.startswith(infotext.NEGATIVE_PROMPT_MARK):
        assert (parsed["Prompt"], parsed["Negative prompt"]) == (prompt, negative_prompt)
    assert parsed["Steps"] == "20"


def test_missing_parameters_get_their_meaning():
    parameters = {"Clip skip": "2", "FP8 weight": "Enable"}
    infotext.add_missing_parameters(parameters)
    assert parameters["Clip skip"] == "2"
    assert parameters["RNG"] == "GPU"
    assert parameters["Cache FP16 weight for LoRA"] is False


def test_legacy_hypernetwork_becomes_a_tag():
    parameters = {"Prompt": "p", "Hypernet": "hn"}
    infotext.convert_legacy_hypernetwork(parameters)
    assert parameters["Prompt"] == "p<hypernet:hn:1.0>"


@given(st.text(alphabet='ab1 -/:,"\\\n\t[{ñ_.', max_size=40))
def test_pairs_are_found_as_the_older_expression_finds_them(line):
    def found(expression):
        return [match.groups() for match in expression.finditer(line)]

    assert found(infotext.re_pair) == found(infotext.re_param)


@pytest.mark.parametrize("text", ["a" * 1_000_000, "a " * 500_000, "a/" * 500_000 + ":" * 3])
def test_a_long_line_without_pairs_is_read_in_one_pass(text):
    assert infotext.split_infotext(text).prompt == text.strip()


def test_names_that_can_stand_in_a_tag():
    assert infotext.tag_name("a:b <c>, d=#1") == "a_b _c_, d__1"
