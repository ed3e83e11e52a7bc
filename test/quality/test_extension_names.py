"""The names that extensions use are there, and functions take v1.10.1's parameters."""

import importlib
import inspect
import json
from pathlib import Path

import pytest

from modules import processing

DATA = json.loads((Path(__file__).resolve().parents[1] / "data" / "extension_names.json").read_text(encoding="utf8"))


def found(name):
    """The object that a name below modules stands for."""
    module, rest = name, []
    while True:
        try:
            value = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, attribute = module.rpartition(".")
            rest.insert(0, attribute)
    for attribute in rest:
        value = getattr(value, attribute)
    return value


@pytest.mark.parametrize("name", DATA["names"])
def test_name_is_there_with_its_parameters(client, name):
    value, theirs = found(name), DATA["names"][name]
    if theirs is None or not callable(value):
        return
    parameters = inspect.signature(value).parameters.values()
    taken = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    wanted = [parameter for parameter in theirs if not parameter.startswith("*")]
    if any(p.kind is p.VAR_KEYWORD for p in parameters) and not taken:
        return  # it hands everything on
    assert [parameter for parameter in taken if parameter in wanted] == wanted
    added = [
        p for p in parameters if p.name not in [*theirs, "self"] and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    assert all(p.default is not p.empty for p in added), "v1.10.1's callers do not give it"


@pytest.mark.parametrize("cls", ["StableDiffusionProcessingTxt2Img", "StableDiffusionProcessingImg2Img"])
def test_a_job_has_the_attributes(client, cls):
    kinds = [processing.StableDiffusionProcessingTxt2Img(), processing.StableDiffusionProcessingImg2Img()]
    job = next(job for job in kinds if type(job).__name__ == cls)
    missing = [name for name in DATA["job_attributes"] if not hasattr(job, name)]
    assert [name for name in missing if not any(hasattr(other, name) for other in kinds)] == []
