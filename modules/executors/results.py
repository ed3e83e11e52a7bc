"""job: results of jobs as they are sent from one process to another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modules import processing
from modules.executors import wire
from modules.processing_runner import JobResult


def portable(result: JobResult) -> JobResult:
    """Returns a result without what cannot be sent: scripts put all kinds of things on theirs."""
    if wire.is_packable(result):
        return result
    plain: Any = object.__new__(processing.Processed)
    vars(plain).update({name: value for name, value in vars(result.processed).items() if wire.is_packable(value)})
    overrides = {name: value for name, value in result.overrides.items() if wire.is_packable(value)}
    return replace(result, processed=plain, overrides=overrides)
