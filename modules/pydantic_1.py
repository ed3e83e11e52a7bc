"""base: names of pydantic 1 that extensions use on models and that pydantic 2 has not even kept as deprecated.

Importing it gives them to all models: `Model.__config__`, to derive a `class Config` from, and `Model.__fields__`,
whose values can be asked, and told, whether they are required. `root_validator` takes its old defaults, `json()` the
arguments of `json.dumps`. In models of extensions a field that may be None is None when it is not given.
"""

from __future__ import annotations

import json
import os
import sys
import typing
from collections.abc import Callable
from typing import Any

import pydantic
from pydantic import BaseModel
from pydantic.deprecated import class_validators
from pydantic.fields import FieldInfo, PydanticUndefined

from modules.paths_internal import extensions_builtin_dir, extensions_dir


class ModelField:
    """A field of a model, as pydantic 1 described it; what it does not say itself its FieldInfo says."""

    def __init__(self, model: type[BaseModel], name: str):
        self.model = model
        self.name = name
        self.field_info: FieldInfo = model.model_fields[name]
        self.type_ = self.outer_type_ = self.field_info.annotation

    def __getattr__(self, name: str) -> Any:
        return getattr(self.field_info, name)

    @property
    def required(self) -> bool:
        """Whether a value has to be given."""
        return self.field_info.is_required()

    @required.setter
    def required(self, required: bool) -> None:
        """Makes the field one that has to be given, or one that is None if it is not."""
        if required != self.required:
            self.field_info.default = PydanticUndefined if required else None
            self.model.model_rebuild(force=True)


class ConfigClass:
    """The settings of a model as a class, as pydantic 1 kept them."""

    def __get__(self, instance: BaseModel | None, model: type[BaseModel]) -> type:
        """Returns a class whose attributes are the model's settings."""
        return type("Config", (), dict(model.model_config))


def fields_of(model: type[BaseModel]) -> dict[str, ModelField]:
    """Returns the fields of a model by their names."""
    return {name: ModelField(model, name) for name in model.model_fields}


def is_in_extension(module_name: str) -> bool:
    """Tells whether a module is a file of an extension."""
    file = getattr(sys.modules.get(module_name), "__file__", None) or ""
    return any(file.startswith(os.path.join(folder, "")) for folder in (extensions_dir, extensions_builtin_dir))


def new_model(mcs: type, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> type:
    """Makes a model class; in one of an extension, `Optional` fields without a value have None as their default."""
    if is_in_extension(namespace.get("__module__", "")):
        for field, hint in namespace.get("__annotations__", {}).items():
            if not may_be_none(hint):
                continue
            value = namespace.setdefault(field, None)
            if isinstance(value, FieldInfo) and value.is_required():
                value.default = value._attributes_set["default"] = None
    return original_new(mcs, name, bases, namespace, **kwargs)


def may_be_none(hint: Any) -> bool:
    """Tells whether a type hint, which may be a text, says so."""
    if isinstance(hint, str):
        return hint.startswith(("Optional[", "typing.Optional[")) or "None" in [
            part.strip() for part in hint.split("|")
        ]
    return type(None) in typing.get_args(hint)


def model_json(model: BaseModel, **kwargs: Any) -> str:
    """Returns a model as JSON; what `model_dump` does not know goes to `json.dumps`."""
    known = {name: kwargs.pop(name) for name in DUMP_ARGUMENTS if name in kwargs}
    return json.dumps(model.model_dump(mode="json", **known), **kwargs)


DUMP_ARGUMENTS = ("include", "exclude", "by_alias", "exclude_unset", "exclude_defaults", "exclude_none")
original_new = type(BaseModel).__new__
original_root_validator = class_validators.root_validator


def root_validator(*args: Any, pre: bool = False, skip_on_failure: bool = True, **kwargs: Any) -> Callable:
    """Does what pydantic's does, and takes being used without arguments also after the fields are read."""
    decorator = original_root_validator(pre=pre, skip_on_failure=skip_on_failure, **kwargs)
    return decorator(*args) if args else decorator


BaseModel.json = model_json
type(BaseModel).__new__ = new_model
BaseModel.__config__ = ConfigClass()
type(BaseModel).__fields__ = property(fields_of)
pydantic.root_validator = class_validators.root_validator = root_validator
