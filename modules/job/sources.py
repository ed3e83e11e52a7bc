"""job: where jobs come from, and how one that is only written down becomes a job again.

What is written down of a job is {name of its source: what that understands}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from modules.errors import InvalidInput
from modules.job.plan import Plan


@dataclass(frozen=True)
class Source:
    """make_plan: how a job is run, of its kind and what is written down. again: what is written down of one that is
    made again, of that and the seed and variation seed it had drawn, None if it had drawn none.
    """

    make_plan: Callable[[str, dict[str, Any]], Plan]
    again: Callable[[dict[str, Any], Sequence[Any] | None], dict[str, Any]]


SOURCES: dict[str, Source] = {}
"""Name -> source; each adds itself."""


def make_plan(kind: str, written: dict[str, Any]) -> Plan:
    """Returns how a job is run. Raises InvalidInput when nobody here understands what is written down."""
    ((name, said),) = written.items()
    if name not in SOURCES:
        raise InvalidInput(f"Jobs of the {name} are not taken now: start with --{name} as when it was asked for")
    return SOURCES[name].make_plan(kind, said)


def again(written: dict[str, Any], seeds: Sequence[Any] | None) -> dict[str, Any]:
    """Returns what is written down of a job that is made again, with its seeds where it had drawn some."""
    ((name, said),) = written.items()
    return {name: SOURCES[name].again(said, seeds)} if name in SOURCES else written
