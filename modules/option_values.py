"""base: reads any value as one of a setting: JSON of a request or a file, text of an infotext, an axis, a line.

All ways into the settings end here, so a value means the same on each of them.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol


class Definition(Protocol):
    """What is read here of the definition of a setting, an OptionInfo."""

    default: Any
    component: Any
    component_args: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None


YES = frozenset({"true", "on", "yes", "t", "y", "1"})
NO = frozenset({"false", "off", "no", "f", "n", "0", ""})
"""Words for a switch that is on or off, in any letter case."""

KIND_OF_WIDGET: dict[str, type] = {
    "Textbox": str,
    "Dropdown": str,
    "Radio": str,
    "FormColorPicker": str,
    "ColorPicker": str,
    "Number": float,
    "Slider": float,
    "Checkbox": bool,
    "CheckboxGroup": list,
    "DropdownMulti": list,
}
"""Type of the values of a setting whose default is None, by the name of its widget."""

MENUS = frozenset({"Radio", "Dropdown", "CheckboxGroup", "DropdownMulti"})
"""Widgets whose values are among their choices."""


LONGEST_NAME = 200
"""Signs of a text that are compared with names; comparing takes as long as both are long."""


def widget_name(info: Definition) -> str:
    """Returns the name of a setting's widget; empty if it names none."""
    return getattr(info.component, "__name__", info.component) or ""


def kind_of(info: Definition, value: Any = None) -> type | None:
    """Returns the type of a setting: of its default, else of its widget, else of the value it has; None if unknown.

    A slider with a fraction in its range or step has decimals, though its default be whole.
    """
    if info.default is None:
        return KIND_OF_WIDGET.get(widget_name(info)) or (None if value is None else type(value))
    kind = type(info.default)
    if kind is int and isinstance(info.component_args, Mapping):
        range_ = [info.component_args.get(name, 0) for name in ("minimum", "maximum", "step")]
        if any(isinstance(number, float) and number % 1 for number in range_):
            return float
    return kind


def read(info: Definition, value: Any, current: Any = None) -> Any:
    """Returns value as one the setting can have. None, JSON's null, is only a value of settings whose default it is.

    Numbers may come as text and texts as numbers, a list of one as its element, a switch as a word for on or off. A
    whole number may be written with a fraction of zero; a number of a setting with decimals stays whole if it is.
    current: the value there is, whose type counts where the definition tells none.
    Raises ValueError with the end of the sentence "the setting x is <value>, but ...".
    """
    kind = kind_of(info, current)
    if value is None:
        if info.default is None:
            return None
        raise ValueError(f"must be {DESCRIPTIONS.get(kind, kind.__name__)}")
    reader = READERS.get(kind)
    if reader is not None:
        value = reader(value, info)
    elif kind is not None and not isinstance(value, kind):
        raise ValueError(f"must be of the type {kind.__name__}")
    return fixed_choice(info, value)


def read_tuple(value: Any, info: Definition) -> tuple[Any, ...]:
    """Returns a list as a tuple; JSON knows none."""
    return tuple(read_list(value, info))


def read_bool(value: Any, info: Definition | None = None) -> bool:
    """Returns what a switch is set to."""
    if isinstance(value, str) and value.strip().lower() in YES | NO:
        return value.strip().lower() in YES
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise ValueError(f"must be {DESCRIPTIONS[bool]}")


def read_number(value: Any) -> int | float:
    """Returns a finite number, given as such or as text."""
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def read_int(value: Any, info: Definition | None = None) -> int:
    """Returns a whole number."""
    try:
        number = read_number(value)
        if number != int(number):
            raise ValueError
    except (ValueError, OverflowError) as e:
        raise ValueError(f"must be {DESCRIPTIONS[int]}") from e
    return int(number)


def read_float(value: Any, info: Definition | None = None) -> float:
    """Returns a number; one from text with decimals, as infotexts write it."""
    try:
        number = read_number(value)
        return float(number) if isinstance(value, str) else number
    except (ValueError, OverflowError) as e:
        raise ValueError(f"must be {DESCRIPTIONS[float]}") from e


def read_str(value: Any, info: Definition | None = None) -> str:
    """Returns a text; of a colour, one that browsers and images can show."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be {DESCRIPTIONS[str]}")
    if not is_writable(str(value)):
        raise ValueError("must be a text that can be written to a file")
    if info is not None and widget_name(info) == "FormColorPicker" and not is_colour(str(value)):
        raise ValueError("must be a colour like #ff8800")
    return str(value)


def is_writable(text: str) -> bool:
    """Says whether a text can be written as UTF-8: JSON can hold halves of signs, which cannot."""
    try:
        text.encode("utf8")
    except UnicodeEncodeError:
        return False
    return True


def is_colour(text: str) -> bool:
    """Says whether a text is a colour."""
    from PIL import ImageColor

    try:
        ImageColor.getrgb(text)
    except ValueError:
        return False
    return True


def read_list(value: Any, info: Definition) -> list[Any]:
    """Returns a list; of texts, unless the default holds something else."""
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be {DESCRIPTIONS[list]}")
    if any(not isinstance(item, str) for item in info.default or []):
        return list(value)
    if any(isinstance(item, bool) or not isinstance(item, str | int | float) for item in value):
        raise ValueError("must be a list of texts")
    texts = [str(item) for item in value]
    if not all(map(is_writable, texts)):
        raise ValueError("must be a list of texts that can be written to a file")
    return texts


DESCRIPTIONS: dict[type | None, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a list",
}
READERS: dict[type | None, Callable[[Any, Definition], Any]] = {
    bool: read_bool,
    int: read_int,
    float: read_float,
    str: read_str,
    list: read_list,
    tuple: read_tuple,
}


def fixed_choice(info: Definition, value: Any) -> Any:
    """Returns a value of a setting with a fixed list of choices in the letter case of the list.

    Raises ValueError for one that is not in it.
    """
    return choice(info, value, info.component_args if isinstance(info.component_args, Mapping) else {})


def choice(info: Definition, value: Any, arguments: Mapping[str, Any]) -> Any:
    """Returns a value, or each of a list of values, as the choices among the widget's arguments have it.

    The default is always taken. Raises ValueError for a value that is no choice.
    """
    known = [item[1] if isinstance(item, tuple | list) else item for item in arguments.get("choices") or ()]
    is_free = not known or widget_name(info) not in MENUS or arguments.get("allow_custom_value")
    if is_free or value == info.default:
        return value
    if isinstance(value, list):
        return [one_of(known, item) for item in value]
    return one_of(known, value)


def one_of(known: list[Any], value: Any) -> Any:
    """Returns the one of some choices that a value means, in any letter case. Raises ValueError if none is meant."""
    if value in known:
        return value
    for item in known:
        if str(item).lower() == str(value).lower():
            return item
    raise ValueError(f"must be one of {listed(known)}{nearest(str(value), map(str, known))}")


def listed(known: list[Any]) -> str:
    """Returns the beginning of a list, as a message shows it."""
    texts = [str(item) for item in known[:12]]
    return ", ".join(texts) + (", ..." if len(known) > 12 else "")


def nearest(text: str, known: Iterable[str]) -> str:
    """Returns the end of a message that names what is most like a text; empty if there is nothing at all."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(text[:LONGEST_NAME].lower(), names, n=1, cutoff=0.0)
    return f"; the nearest is {names[found[0]]!r}" if found else ""
