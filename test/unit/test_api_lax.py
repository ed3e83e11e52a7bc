"""Field types in a request model: what each takes, and how the API's schema describes it."""

import math

import pytest
from pydantic import BaseModel, ValidationError

from modules.api.lax import LaxDict, LaxInt, LaxStr


class Request(BaseModel):
    count: LaxInt = 1
    name: LaxStr = ""
    values: LaxDict = {}


@pytest.mark.parametrize(
    ("sent", "taken"),
    [(6, 6), (6.7, 6), (-6.7, -6), ("6", 6), (" 6 ", 6), (True, 1), (1e15, 10**15), (0.0, 0)],
)
def test_whole_numbers(sent, taken):
    assert Request(count=sent).count == taken
    assert type(Request(count=sent).count) is int


@pytest.mark.parametrize("sent", ["6.5.1", "six", None, [6], {}, math.nan, math.inf, -math.inf])
def test_what_is_no_whole_number(sent):
    with pytest.raises(ValidationError) as caught:
        Request(count=sent)
    assert [row["loc"] for row in caught.value.errors()] == [("count",)]


@pytest.mark.parametrize(("sent", "taken"), [("a", "a"), (5, "5"), (0.5, "0.5"), (True, "True"), ("", "")])
def test_texts(sent, taken):
    assert Request(name=sent).name == taken


@pytest.mark.parametrize("sent", [None, [], ["a"], {"a": 1}, b"\xff"])
def test_what_is_no_text(sent):
    with pytest.raises(ValidationError):
        Request(name=sent)


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ({}, {}),
        ([], {}),
        ({"a": [1]}, {"a": [1]}),
        ([["a", 1], ["b", 2]], {"a": 1, "b": 2}),
        ([("a", None)], {"a": None}),
    ],
)
def test_maps(sent, taken):
    assert Request(values=sent).values == taken


@pytest.mark.parametrize("sent", [None, "a", 5, [1], [["a"]], [["a", 1, 2]], [[[], 1]], {1: 2}, [[1, 2]]])
def test_what_is_no_map(sent):
    with pytest.raises(ValidationError):
        Request(values=sent)


def test_defaults_are_not_touched():
    assert Request().model_dump() == {"count": 1, "name": "", "values": {}}


def test_schema_says_the_plain_types():
    properties = Request.model_json_schema()["properties"]
    assert {name: row["type"] for name, row in properties.items()} == {
        "count": "integer",
        "name": "string",
        "values": "object",
    }
    assert properties["values"]["additionalProperties"] is True


def test_half_a_pair_of_surrogates_is_no_text():
    assert Request(name="a\ud800b\u00e4").name == "a?b\u00e4"
