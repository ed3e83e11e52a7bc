"""face: what a request's `infotext` fills in: its fields, its settings and the arguments of scripts.

The page has fields for the same keys; there they are part of the controls' declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from modules import infotext_utils, script_ui, sd_samplers
from modules.infotext_utils import PasteField
from modules.job.request import Txt2ImgFields, facts
from modules.scripts import ScriptRunner

Source = str | Callable[[dict[str, Any]], Any]


def has_hires_pass(params: dict[str, Any]) -> bool:
    """Tells whether there is one. Any denoising strength asks for it, as in v1.10.1: the parser adds a "Hires resize-1"
    of 0 where the text has none, and its presence counts. Clients rely on that; the page reads its values instead.
    """
    keys = ("Hires upscale", "Hires upscaler", "Hires resize-1")
    return "Denoising strength" in params and any(key in params for key in keys)


def unless_same(read: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Wraps what a menu of the hires pass shows for an infotext; its entry "Use same ..." is a field left out."""

    def value(params: dict[str, Any]) -> Any:
        """Returns the shown value, or None."""
        shown = read(params)
        return None if isinstance(shown, str) and shown.startswith("Use same ") else shown

    return value


READERS: dict[str, Source] = {
    "enable_hr": has_hires_pass,
    "hr_checkpoint_name": unless_same(lambda params: params.get("Hires checkpoint")),
    "hr_sampler_name": unless_same(sd_samplers.get_hr_sampler_from_infotext),
    "hr_scheduler": unless_same(sd_samplers.get_hr_scheduler_from_infotext),
}
"""Fields whose value is more than what stands under one key."""

FIELDS: dict[str, dict[str, Source]] = {"txt2img": facts(Txt2ImgFields, "infotext") | READERS, "img2img": {}}
"""By tab: request field -> infotext key, or function of all parameters; scripts (seed, sampler, refiner) bring further
ones. An img2img request is never filled beyond those.
"""


def apply_infotext(
    request: BaseModel, tabname: str, runner: ScriptRunner, problems: list[str] | None = None
) -> dict[int, Any]:
    """Fills what the request left open from its `infotext`, and returns the script arguments found there by their
    place in the argument list.

    Fields the request sets win, and so do its `override_settings` over settings the infotext names.
    A value that does not fit its field is left out, as is a setting or model that there is not; problems gets a text
    about each.
    """
    problems = [] if problems is None else problems
    if not request.infotext:
        return {}
    script_ui.ensure_controls()
    params = infotext_utils.parse_generation_parameters(request.infotext)
    script_fields = [as_paste_field(field) for field in runner.infotext_fields]
    sources = FIELDS[tabname] | {field.api: field.function or field.label for field in script_fields if field.api}
    fill_fields(request, sources, params, problems)
    note_unknown(request, params, problems)

    overrides = dict(request.override_settings or {})
    for _, setting, value in infotext_utils.usable_override_settings(params, problems):
        overrides.setdefault(setting, value)
    request.override_settings = overrides
    return script_arguments(script_fields, runner, params, problems)


def as_paste_field(field: Any) -> PasteField:
    """Returns a field of a script, which may list its fields as pairs."""
    return field if isinstance(field, PasteField) else PasteField(*field)


def value_of(source: Source | None, params: dict[str, Any]) -> Any:
    """Returns the value a key or function finds; None where the infotext says nothing, or the page's control would
    stay.
    """
    value = source(params) if callable(source) else params.get(source)
    if isinstance(value, dict) and value.get("__type__") == "update":
        value = value.get("value")
    return value


def fill_fields(
    request: BaseModel, sources: dict[str, Source | None], params: dict[str, Any], problems: list[str]
) -> None:
    """Sets the fields that the request did not."""
    for name, source in sources.items():
        field = type(request).model_fields.get(name)
        value = value_of(source, params)
        if field is None or name in request.model_fields_set or value is None:
            continue
        try:
            setattr(request, name, TypeAdapter(field.annotation).validate_python(value))
        except ValidationError:
            infotext_utils.note(problems, f"{value!r} does not fit the field {name}")


def note_unknown(request: BaseModel, params: dict[str, Any], problems: list[str]) -> None:
    """Notes each sampler or schedule that there is not here, unless the request names one itself."""
    names = sd_samplers.unknown_in_infotext(params)
    if not getattr(request, "enable_hr", False):
        names = {field: name for field, name in names.items() if not field.startswith("hr_")}
    if "sampler_index" in request.model_fields_set:
        names.pop("sampler_name", None)
    for field, name in names.items():
        if field not in request.model_fields_set:
            infotext_utils.note(problems, f"{name!r} is not known here, {field} keeps its default")


def script_arguments(
    fields: Iterable[PasteField], runner: ScriptRunner, params: dict[str, Any], problems: list[str]
) -> dict[int, Any]:
    """Returns the values of scripts' controls by their place in the argument list."""
    places = {id(control): place for place, control in enumerate(runner.inputs) if control is not None}
    found = {}
    for field in fields:
        place = places.get(id(field.component))
        value = value_of(field.function or field.label, params)
        if place is None or value is None or script_ui.initial_value(field.component) is None:
            continue
        try:
            found[place] = infotext_utils.as_type_of(field.component, value)
        except (TypeError, ValueError):
            infotext_utils.note(problems, f"{value!r} does not fit {field.component.label!r}")
    return found
