"""What extensions written for pydantic 1 do with models of the API and their own."""

import subprocess
import sys
import warnings

import pytest
from pydantic import BaseModel, Field, ValidationError

from modules import pydantic_1, script_loading
from modules.api import models


class Plain(BaseModel):
    needed: int
    given: int = Field(3, title="Given")


@pytest.fixture(autouse=True)
def deprecated_names():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def test_task_can_be_derived_from_a_request_with_its_settings():
    class Task(models.StableDiffusionTxt2ImgProcessingAPI):
        checkpoint: str | None = Field(None, title="Custom checkpoint.")
        sampler_index: str | None = Field("Euler", alias="sampler_name")

        class Config(models.StableDiffusionTxt2ImgProcessingAPI.__config__):
            populate_by_name = True

    task = Task(prompt="p", checkpoint="c", sampler_index="LMS", unknown=1)
    assert Task.model_config["extra"] == "ignore"
    assert (task.dict()["checkpoint"], task.dict()["sampler_index"]) == ("c", "LMS")
    assert "checkpoint" in task.__fields_set__ and "steps" not in task.__fields_set__
    changed = task.copy(update={"prompt": "q"})
    assert (changed.prompt, changed.checkpoint, task.prompt) == ("q", "c", "p")
    assert Task.parse_obj(task.dict(by_alias=True)) == Task(**task.dict(by_alias=True))


def test_root_validator_needs_no_arguments():
    from pydantic import root_validator, validator

    class Bounded(BaseModel):
        low: int = 0
        high: int = 9

        @validator("high")
        def even(cls, value):
            return value // 2 * 2

        @root_validator
        def ordered(cls, values):
            if values["low"] > values["high"]:
                raise ValueError("low is above high")
            return {**values, "low": values["low"] + 1}

        @root_validator(pre=True)
        def renamed(cls, values):
            return {**values, "high": values.get("top", 9)}

    assert Bounded(low=1, top=3).dict() == {"low": 2, "high": 2}
    with pytest.raises(ValidationError, match="low is above high"):
        Bounded(low=5, top=3)


def test_fields_say_and_are_told_whether_they_are_required():
    fields = Plain.__fields__
    assert list(fields) == list(Plain(needed=1).__fields__) == ["needed", "given"]
    assert (fields["needed"].required, fields["given"].required) == (True, False)
    assert (fields["given"].default, fields["given"].title, fields["given"].type_) == (3, "Given", int)

    class Optional(Plain):
        pass

    for field in Optional.__fields__.values():
        field.required = False
    assert Optional().needed is None and Optional(needed=2).needed == 2
    with pytest.raises(ValidationError):
        Plain()
    Optional.__fields__["needed"].required = True
    with pytest.raises(ValidationError):
        Optional()


def test_root_validator_stays_when_pydantic_loads_its_neighbours():
    """It loads such names when they are asked for first, and sets all of their module anew."""
    code = "from modules import pydantic_1; from pydantic import validator, root_validator as r; print(r.__module__)"
    root = pydantic_1.__file__.rpartition("modules")[0]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "modules.pydantic_1"


EXTENSION = """
from typing import Optional
from pydantic import BaseModel, Field

class Task(BaseModel):
    name: Optional[str] = Field(title="Task Name")
    note: Optional[str]
    size: "int | None"
    params: str
"""


@pytest.mark.parametrize("is_extension", [True, False])
def test_optional_fields_of_extensions_need_no_value(is_extension, tmp_path, monkeypatch):
    monkeypatch.setattr(pydantic_1, "extensions_dir", str(tmp_path) if is_extension else "/elsewhere")
    path = tmp_path / "tasks" / "models.py"
    path.parent.mkdir()
    path.write_text(EXTENSION, encoding="utf8")
    task = script_loading.load_module(str(path)).Task
    if is_extension:
        assert task(params="p").dict() == {"name": None, "note": None, "size": None, "params": "p"}
    for given in ({}, {"name": "n"}) if is_extension else ({"params": "p"},):
        with pytest.raises(ValidationError):
            task(**given)


def test_json_takes_what_json_dumps_takes():
    assert Plain(needed=1).json(indent=1, exclude={"given"}) == '{\n "needed": 1\n}'
