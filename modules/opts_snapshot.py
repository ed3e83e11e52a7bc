"""state: a frozen copy of the settings a job runs with, which nothing that happens during the job can change."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from modules.options import Options

PLAIN = frozenset({type(None), bool, int, float, str})
"""Types of nearly all values, which are what they are."""


class OptsSnapshot:
    """Settings as they were at one moment, defaults included: `snapshot.x` for `opts.x`.

    Nothing can be assigned or deleted. Lists come out as tuples, dictionaries as read-only mappings.
    """

    __slots__ = ("_values",)

    _values: Mapping[str, Any]

    def __init__(self, values: Mapping[str, Any]):
        frozen = MappingProxyType(
            {key: value if type(value) in PLAIN else _freeze(value) for key, value in values.items()}
        )
        object.__setattr__(self, "_values", frozen)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"there was no setting named {name!r} when this snapshot was taken") from None

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"cannot set {name!r}: a snapshot of the settings does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: a snapshot of the settings does not change")

    def __repr__(self) -> str:
        return f"OptsSnapshot({len(self._values)} settings)"

    def __copy__(self) -> OptsSnapshot:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> OptsSnapshot:
        return self

    def __reduce__(self) -> tuple[type[OptsSnapshot], tuple[dict[str, Any]]]:
        return OptsSnapshot, (_thaw(self._values),)

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the value of a setting; default where there is no setting of this name."""
        return self._values.get(name, default)


def create_opts_snapshot(opts: Options) -> OptsSnapshot:
    """Takes a snapshot of all settings as the calling context sees them, what a job lays over them included.

    It also keeps stored values of settings that nobody defines, as `opts` does.
    """
    # Copied at one go: other threads add to both, extensions definitions, and the model that is being loaded its hash.
    defaults = {key: info.default for key, info in dict(opts.data_labels).items()}
    return OptsSnapshot({**defaults, **opts.data, **opts.job_overlay.get()})


def _freeze(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(item) for item in value)
    if isinstance(value, Mapping):
        return MappingProxyType({key: _freeze(item) for key, item in value.items()})
    return frozenset(value) if isinstance(value, set) else value


def _thaw(value: Any) -> Any:
    """Turns read-only mappings, which cannot be pickled, into dicts."""
    if isinstance(value, Mapping):
        return {key: _thaw(item) for key, item in value.items()}
    return tuple(_thaw(item) for item in value) if isinstance(value, tuple) else value
