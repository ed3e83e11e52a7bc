"""Any value read as one of a setting."""

import json
import math

import pytest

from modules import option_values, shared
from modules.errors import InvalidInput
from modules.options import OptionInfo, Options

WHOLE = OptionInfo(1, "x", "Slider", {"minimum": 1, "maximum": 12, "step": 1})
FINE = OptionInfo(1, "x", "Slider", {"minimum": 0.0, "maximum": 1, "step": 0.01})
NUMBER = OptionInfo(0.5, "x")
SWITCH = OptionInfo(False, "x")
TEXT = OptionInfo("a", "x")
COLOUR = OptionInfo("#fff", "x", "FormColorPicker")
LIST = OptionInfo([], "x", "DropdownMulti")
RADIO = OptionInfo("GPU", "x", "Radio", {"choices": ["GPU", "CPU", "NV"]})
BOXES = OptionInfo([], "x", "CheckboxGroup", {"choices": ["SD1", "SDXL"]})
MODEL = OptionInfo(None, "x", "Dropdown")


@pytest.mark.parametrize(
    ("info", "given", "value"),
    [
        (WHOLE, 2.0, 2),
        (WHOLE, "2", 2),
        (WHOLE, " 2.0 ", 2),
        (WHOLE, 1e3, 1000),
        (FINE, 0.25, 0.25),
        (FINE, "1", 1.0),
        (NUMBER, 1, 1),
        (NUMBER, "1", 1.0),
        (NUMBER, "-.5", -0.5),
        (SWITCH, "True", True),
        (SWITCH, "off", False),
        (SWITCH, "", False),
        (SWITCH, 1, True),
        (SWITCH, 0.0, False),
        (TEXT, 5, "5"),
        (TEXT, "", ""),
        (COLOUR, "#ff8800", "#ff8800"),
        (LIST, "PLMS", ["PLMS"]),
        (LIST, "", []),
        (LIST, ["a", 3], ["a", "3"]),
        (RADIO, "cpu", "CPU"),
        (BOXES, ["sdxl"], ["SDXL"]),
        (MODEL, None, None),
        (MODEL, "m", "m"),
        (OptionInfo((1, 2), "x"), [3, 4], (3, 4)),
        (OptionInfo([1], "x"), [2], [2]),
        (OptionInfo({}, "x"), {"a": 1}, {"a": 1}),
        (OptionInfo("a", "x", "Dropdown", {"choices": ["a"], "allow_custom_value": True}), "b", "b"),
    ],
)
def test_values_get_the_type_of_the_setting(info, given, value):
    read = option_values.read(info, given)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("info", "given", "message"),
    [
        (WHOLE, 1.5, "a whole number"),
        (WHOLE, "two", "a whole number"),
        (WHOLE, True, "a whole number"),
        (WHOLE, math.inf, "a whole number"),
        (WHOLE, [2], "a whole number"),
        (WHOLE, None, "a whole number"),
        (NUMBER, "nan", "a number"),
        (NUMBER, 10**400, "a number"),
        (NUMBER, {}, "a number"),
        (SWITCH, "maybe", "true or false"),
        (SWITCH, 2, "true or false"),
        (SWITCH, [], "true or false"),
        (TEXT, ["a"], "a text"),
        (TEXT, False, "a text"),
        (TEXT, "\ud800", "can be written"),
        (COLOUR, "zz", "a colour"),
        (LIST, 3, "a list"),
        (LIST, [None], "a list of texts"),
        (LIST, ["\ud800"], "can be written"),
        (RADIO, "CUDA", "one of GPU, CPU, NV"),
        (BOXES, ["SD4"], "nearest is 'SD1'"),
        (MODEL, ["m"], "a text"),
        (OptionInfo({}, "x"), [1], "dict"),
    ],
)
def test_what_cannot_be_read_is_refused(info, given, message):
    with pytest.raises(ValueError, match=message):
        option_values.read(info, given)


def test_the_kind_of_a_setting_without_a_default_is_that_of_its_widget_or_value():
    assert option_values.kind_of(MODEL) is str
    assert option_values.kind_of(OptionInfo(None)) is None
    assert option_values.kind_of(OptionInfo(None), 3) is int


def test_every_default_is_a_value_of_its_setting():
    for key, info in shared.opts.data_labels.items():
        assert shared.opts.read_value(key, info.default) == info.default, key


KINDS = {int: [2.5, "x", [], {}], float: ["x", [], {}], bool: ["maybe", 3, {}], list: [3, {}, [{}]], str: [[], {}]}


def test_no_setting_takes_a_value_of_another_kind():
    for key, info in shared.opts.data_labels.items():
        for value in KINDS[option_values.kind_of(info)]:
            with pytest.raises(InvalidInput, match=key):
                shared.opts.read_value(key, value)


def test_the_nearest_name_is_told():
    assert option_values.nearest("eulr", ["DDIM", "Euler"]) == "; the nearest is 'Euler'"
    assert option_values.nearest("x", []) == ""
    assert option_values.nearest("a" * 100_000, ["DDIM", "aaa" * 20]) == f"; the nearest is {'aaa' * 20!r}"
    assert option_values.listed(list(range(14))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ..."


@pytest.mark.parametrize("value", [{}, 3, [None], "zz", 1.5, True, [[1]], None])
def test_a_file_with_any_values_gives_settings_of_their_kinds(tmp_path, value):
    file = tmp_path / "config.json"
    older = {"quicksettings": value, "ui_reorder": value, "sd_vae_as_default": value}
    names = {"data": value, "save": value, "job_overlay": value}
    file.write_text(json.dumps(dict.fromkeys(shared.opts.data_labels, value) | older | names), encoding="utf8")
    stored = Options(dict(shared.opts.data_labels), set())
    stored.load(str(file))
    for key, info in stored.data_labels.items():
        kind = option_values.kind_of(info)
        number = kind is float and type(getattr(stored, key)) is int
        assert number or getattr(stored, key) is None or type(getattr(stored, key)) is kind, key
    assert stored.data["data"] == value and callable(stored.save)
