"""base: names of pydantic 1 that extensions use on models and that pydantic 2 has not even kept as deprecated.

Importing it gives them to all models: `Model.__config__`, to derive a `class Config` from, and `Model.__fields__`,
whose values can be asked, and told, whether they are required. `root_validator` takes its old defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydantic
from pydantic import BaseModel
from pydantic.deprecated import class_validators
from pydantic.fields import FieldInfo, PydanticUndefined


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


def root_validator(*args: Any, pre: bool = False, skip_on_failure: bool = True, **kwargs: Any) -> Callable:
    """Does what pydantic's does, and takes being used without arguments also after the fields are read."""
    decorator = class_validators.root_validator(pre=pre, skip_on_failure=skip_on_failure, **kwargs)
    return decorator(*args) if args else decorator


BaseModel.__config__ = ConfigClass()
type(BaseModel).__fields__ = property(fields_of)
pydantic.root_validator = root_validator
