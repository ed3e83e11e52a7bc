"""face: a tab's form: every control declared once with its submit name, its infotext key and, in the component, its
default.

The names and their order come from the frozen dataclass of values that the tab's job function takes, so that the order
in which controls are laid out (users may change it) and the order in which they are sent have nothing to do with each
other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import gradio as gr

from modules import infotext_utils
from modules.job.request import RequestFields, facts

PasteTarget = str | Callable[[dict[str, Any]], Any]
"""Infotext key, or a function of all parsed keys that gives the value or an update; None leaves the control as it is.
"""


def named_values(values_type: type) -> Callable[[Callable], Callable]:
    """Lets a job function take what the page sends, a list, as one object with names.

    `f(id_task, request, values, **options)` becomes `f(id_task, request, *args, **options)`: args are the fields of the
    dataclass `values_type` in order, all that is left goes to its last field, `script_args`. The signature shown to
    callers names them, as some extensions read it.
    """
    names = [field.name for field in fields(values_type)]

    def decorate(function: Callable) -> Callable:
        """Returns the function as a handler of Gradio, which passes values by position."""

        @wraps(function)
        def called_with_list(id_task: str, request: gr.Request, *args: Any, **options: Any) -> Any:
            """Calls the function with the values by name."""
            return function(id_task, request, values_from_list(values_type, args), **options)

        own = inspect.signature(function)
        head, tail = list(own.parameters.values())[:2], list(own.parameters.values())[3:]
        named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names[:-1]]
        rest = inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)
        tail = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in tail]
        called_with_list.__signature__ = own.replace(parameters=[*head, *named, rest, *tail])
        return called_with_list

    return decorate


def values_from_list(values_type: type, args: Sequence[Any]) -> Any:
    """Returns the object for a list of values in the order of the dataclass; raises TypeError when some are missing."""
    count = len(fields(values_type)) - 1
    if len(args) < count:
        raise TypeError(f"{values_type.__name__} needs {count} values, got {len(args)}")
    return values_type(*args[:count], script_args=tuple(args[count:]))


def fields_of(values: Any, fields_type: type[RequestFields]) -> dict[str, Any]:
    """Returns the request fields among a tab's values, by name; an entry "Use same ..." of a menu leaves its field
    out.
    """
    names = {field.name for field in fields(values)} & {field.name for field in fields(fields_type)}
    same = facts(fields_type, "same")
    sent = {name: getattr(values, name) for name in names}
    return {name: None if value == same.get(name, ...) else value for name, value in sent.items()}


PASTE_ORDER = (
    "prompt",
    "negative_prompt",
    "cfg_scale",
    "image_cfg_scale",
    "width",
    "height",
    "batch_size",
    "styles",
    "denoising_strength",
)
"""The request fields that are first among what an infotext fills in; what stands in a tab alone follows."""


@dataclass(frozen=True)
class PasteRule:
    """What a component is filled from when an infotext is pasted; api names the request field it stands for."""

    component: gr.components.Component
    target: PasteTarget
    api: str | None


class Form:
    """The controls of one tab.

    `form.add("steps", gr.Slider(...), paste="Steps")` declares one and returns it; `form["steps"]` finds it again. The
    control of a request field is filled from the key that the field is declared with. `parts` holds components that
    belong to the form but are not sent, such as previews of a value.
    """

    def __init__(self, tabname: str, values_type: type, fields_type: type[RequestFields] = RequestFields):
        self.tabname = tabname
        self.infotext_keys: dict[str, str] = facts(fields_type, "infotext")
        self.names = [field.name for field in fields(values_type)][:-1]
        self.controls: dict[str, gr.components.Component] = {}
        self.parts: dict[str, Any] = {}
        self.script_inputs: list[gr.components.Component] = []
        self.paste_rules: list[PasteRule] = []

    def add(self, name: str, component: Any, paste: PasteTarget | None = None, *, api: str | None = None) -> Any:
        """Declares a control that is sent as `name`; `paste` says what fills it if not the key of the request field of
        that name, `api` the request field if not `name`.
        """
        if name not in self.names:
            raise KeyError(f"{self.tabname}: {name} is not among the values of the tab")
        self.controls[name] = component
        paste = paste if paste is not None else self.infotext_keys.get(name)
        if paste is not None:
            self.add_paste(component, paste, api=api or name)
        return component

    def add_paste(self, component: Any, target: PasteTarget, *, api: str | None = None) -> None:
        """Declares a further effect of a pasted infotext, for example showing the row a control stands in."""
        self.paste_rules.append(PasteRule(component, target, api))

    def __getitem__(self, name: str) -> Any:
        return self.controls[name]

    def inputs(self) -> list[gr.components.Component]:
        """Returns what is sent, in order: the values of the dataclass, then those of the scripts."""
        missing = [name for name in self.names if name not in self.controls]
        if missing:
            raise KeyError(f"{self.tabname}: no control was declared for {', '.join(missing)}")
        return [self.controls[name] for name in self.names] + self.script_inputs

    def paste_fields(self) -> list[infotext_utils.PasteField]:
        """Returns the paste rules in the form `infotext_utils.add_paste_fields` takes, in v1.10.1's order: extensions
        find the prompts by their places.
        """
        places = {api: place for place, api in enumerate(PASTE_ORDER)}
        rules = sorted(self.paste_rules, key=lambda rule: places.get(rule.api, len(places)))
        return [infotext_utils.PasteField(rule.component, rule.target, api=rule.api) for rule in rules]
