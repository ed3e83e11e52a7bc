"""face: the flat argument list of one request's scripts: defaults, what its infotext says, what the request says."""

from __future__ import annotations

import inspect
import os
import typing
from typing import Any

from pydantic import TypeAdapter, ValidationError

from modules import script_ui
from modules.errors import InvalidInput
from modules.paths_internal import script_path
from modules.scripts import Script, ScriptRunner

SHIPPED_SCRIPTS = os.path.join(script_path, "scripts", "")

COMES_WITH = {"controlnet": "https://github.com/Mikubill/sd-webui-controlnet"}
"""Script, in lower case, that clients of the API send of themselves -> the extension that it belongs to."""


def script_name_to_index(name: str, scripts: list[Script], field: str = "script_name") -> int:
    """Returns the place of the script with this title, in any letter case. field: of the request that names it.

    Raises InvalidInput for an unknown one.
    """
    titles = [script.title().lower() for script in scripts]
    if name.lower() not in titles:
        extension = COMES_WITH.get(name.lower())
        hint = f": it comes with an extension, {extension}, which is not installed" if extension else ""
        raise InvalidInput(f"Script '{name}' not found{hint}", field=field)
    return titles.index(name.lower())


def selectable_script(name: str | None, runner: ScriptRunner) -> tuple[Script | None, int | None]:
    """Returns (script, place in the script menu) of `script_name`; (None, None) when no script is asked for."""
    if not name:
        return None, None
    index = script_name_to_index(name, runner.selectable_scripts)
    return runner.selectable_scripts[index], index


def always_on_script(name: str, runner: ScriptRunner) -> Script:
    """Returns the script an entry of `alwayson_scripts` means.

    Raises InvalidInput for an unknown script and for one that has to be chosen with script_name.
    """
    script = runner.scripts[script_name_to_index(name, runner.scripts, "alwayson_scripts")]
    if not script.alwayson:
        raise InvalidInput("Cannot have a selectable script in the always on scripts params", field="alwayson_scripts")
    return script


def assemble(request: Any, runner: ScriptRunner, infotext_args: dict[int, Any]) -> tuple[list, Script | None]:
    """Returns (argument list, selected script) of a request.

    infotext_args: values by place in the list, taken from the request's infotext. What a script is given is
    laid over the beginning of its slice, so that arguments left out keep their defaults.
    """
    args = script_ui.default_args(runner)
    script, index = selectable_script(request.script_name, runner)
    for place, value in infotext_args.items():
        args[place] = value
    given = [
        (always_on_script(name, runner), given_args(name, entry)) for name, entry in request.alwayson_scripts.items()
    ]
    if script is not None:
        args[0] = index + 1
        check_args(script, request.script_args)
        given.append((script, request.script_args))
    for owner, values in given:
        for place, value in zip(range(owner.args_from, owner.args_to), values, strict=False):
            args[place] = value
    return args, script


def check_args(script: Script, values: list) -> None:
    """Raises InvalidInput for a value whose type the script's run() can't work with.

    Asked are the annotations of the scripts that ship with the program: other authors may mean theirs less strictly.
    Switches take anything, as Python does.
    """
    if not os.path.abspath(script.filename).startswith(SHIPPED_SCRIPTS):
        return
    run = type(script).run
    kinds = typing.get_type_hints(run)
    names = [name for name in inspect.signature(run).parameters if name not in ("self", "p")]
    for name, value in zip(names, values, strict=False):
        kind = kinds.get(name, Any)
        if kind is bool:
            continue
        try:
            TypeAdapter(kind).validate_python(value, strict=True)
        except ValidationError as e:
            raise InvalidInput(f"script_args: {name} is {value!r}: {e.errors()[0]['msg']}", field="script_args") from e


def given_args(name: str, entry: Any) -> list:
    """Returns the arguments an entry of `alwayson_scripts` gives: {"args": [...]}; anything else gives none.

    Raises InvalidInput when "args" is no list.
    """
    args = entry.get("args") if isinstance(entry, dict) else None
    if args is not None and not isinstance(args, list):
        raise InvalidInput(f"alwayson_scripts: args of {name!r} must be a list", field="alwayson_scripts")
    return args or []
