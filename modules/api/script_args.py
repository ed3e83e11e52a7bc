"""face: the flat argument list of one request's scripts: defaults, what its infotext says, what the request says."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from modules import infotext_utils, script_ui
from modules.errors import InvalidInput
from modules.scripts import Script, ScriptRunner


def script_name_to_index(name: str, scripts: list[Script]) -> int:
    """Place of the script with this title, in any letter case.

    Raises InvalidInput for an unknown one.
    """
    titles = [script.title().lower() for script in scripts]
    if name.lower() not in titles:
        raise InvalidInput(f"Script '{name}' not found", field="script_name")
    return titles.index(name.lower())


def selectable_script(name: str | None, runner: ScriptRunner) -> tuple[Script | None, int | None]:
    """(script, place in the script menu) of `script_name`; (None, None) when no script is asked for."""
    if not name:
        return None, None
    index = script_name_to_index(name, runner.selectable_scripts)
    return runner.selectable_scripts[index], index


def always_on_script(name: str, runner: ScriptRunner) -> Script:
    """The script an entry of `alwayson_scripts` means.

    Raises InvalidInput for an unknown script and for one that has to be chosen with script_name.
    """
    script = runner.scripts[script_name_to_index(name, runner.scripts)]
    if not script.alwayson:
        raise InvalidInput("Cannot have a selectable script in the always on scripts params", field="alwayson_scripts")
    return script


def assemble(request: Any, runner: ScriptRunner, infotext_args: dict[int, Any]) -> tuple[list, Script | None]:
    """(argument list, selected script) of a request.

    infotext_args: values by place in the list, taken from the request's infotext. The arguments of the selected script
    replace its slice as they are, short or long; those of always-on scripts are laid over its beginning.
    """
    args = script_ui.default_args(runner)
    script, index = selectable_script(request.script_name, runner)
    for place, value in infotext_args.items():
        args[place] = value
    if script is not None:
        args[script.args_from : script.args_to] = request.script_args
        args[0] = index + 1
    for name, entry in request.alwayson_scripts.items():
        always_on = always_on_script(name, runner)
        given = entry.get("args") if isinstance(entry, dict) else None
        for offset, value in enumerate((given or [])[: always_on.args_to - always_on.args_from]):
            args[always_on.args_from + offset] = value
    return args, script


def apply_infotext(request: BaseModel, tabname: str, runner: ScriptRunner) -> dict[int, Any]:
    """Fills what the request left open from its `infotext`, and returns the script arguments found there by their
    place.

    Fields the request sets win. Settings the infotext names join `override_settings`.
    """
    if not request.infotext:
        return {}
    params = infotext_utils.parse_generation_parameters(request.infotext)
    fields = infotext_utils.paste_fields[tabname]["fields"]
    given = request.model_fields_set
    for field in fields:
        if field.api and field.api not in given:
            value = _field_value(field, params, _type_of(request, field))
            if value is not None:
                setattr(request, field.api, value)
    overrides = {setting: value for _, setting, value in infotext_utils.get_override_settings(params)}
    request.override_settings = overrides | (request.override_settings or {})

    places = {id(component): place for place, component in enumerate(runner.inputs)}
    values = {
        places[id(field.component)]: _field_value(field, params, type(field.component.value))
        for field in fields
        if id(field.component) in places
    }
    return {place: value for place, value in values.items() if value is not None}


def _type_of(request: BaseModel, field: Any) -> Any:
    declared = type(request).model_fields.get(field.api)
    return declared.annotation if declared is not None else type(field.component.value)


def _field_value(field: Any, params: dict[str, Any], target_type: Any) -> Any:
    value = field.function(params) if field.function else params.get(field.label)
    if isinstance(value, dict) and value.get("__type__") == "update":
        value = value.get("value")
    if value is None or target_type is type(None):
        return None
    try:
        return TypeAdapter(target_type).validate_python(value)
    except ValidationError as e:
        raise InvalidInput(
            f"infotext: {field.label or field.api} is {value!r}, which does not fit", field="infotext"
        ) from e
