"""base: the domain errors of the program, and the one place where exceptions are reported and remembered.

    WebuiError           500   something the program knows how to name
      InvalidInput       422   a value of a request is wrong; names the field and the fix
      NotFound           404   a named model, script or image is not there
      NotSupported       501   needs a part of the program or a package that is missing
      ModelLoadError     422   a file that cannot be loaded as a model
      OutOfMemory        507   the device has no room for the request
      NotSaved           507   a file cannot be written: the disk is full, or the program may not
      Busy               409   what is asked for does not go while the job waits or runs
      TooManyJobs        429   as many jobs wait as the settings allow
      Cancelled          409   the job was taken out of the queue before its turn came

Raise them where the cause is known. They are caught by the hook dispatcher, the job wrapper, the HTTP handler and the
start-up steps, and nowhere else.
"""

from __future__ import annotations

import logging
import sys
import textwrap
import traceback
from collections import deque
from collections.abc import Callable
from importlib import metadata
from types import TracebackType
from typing import Any, ClassVar

logger = logging.getLogger(__name__)

LONGEST_MESSAGE = 4000


def shortened(message: str) -> str:
    """Returns a message without its middle if it is very long: it may quote a value of any length."""
    half = LONGEST_MESSAGE // 2
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:half]} ... {message[-half:]}"


class WebuiError(Exception):
    """An error with a message for the user; field names the request value or setting that caused it."""

    http_status = 500
    headers: ClassVar[dict[str, str]] = {}
    """What the HTTP answer says beside its body."""

    def __init__(self, message: str, field: str | None = None):
        message = shortened(str(message))
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInput(WebuiError):
    http_status = 422


class NotFound(WebuiError):
    http_status = 404


class NotSupported(WebuiError):
    http_status = 501


class ModelLoadError(WebuiError):
    http_status = 422


class OutOfMemory(WebuiError):
    http_status = 507


class NotSaved(WebuiError):
    http_status = 507


class Busy(WebuiError):
    http_status = 409


class TooManyJobs(WebuiError):
    http_status = 429
    headers: ClassVar[dict[str, str]] = {"Retry-After": "10"}


class Cancelled(WebuiError):
    http_status = 409


MAX_EXCEPTION_RECORDS = 5

exception_records: deque[dict[str, Any]] = deque(maxlen=MAX_EXCEPTION_RECORDS)
already_displayed: dict[str, bool] = {}


def format_traceback(tb: TracebackType | None) -> list[list[str]]:
    """Returns one [place, source line] pair per frame, outermost first."""
    return [
        [f"{frame.filename}, line {frame.lineno}, {frame.name}", frame.line or ""] for frame in traceback.extract_tb(tb)
    ]


def format_exception(e: BaseException, tb: TracebackType | None) -> dict[str, Any]:
    """Returns an exception as system information lists it."""
    return {"exception": str(e), "traceback": format_traceback(tb)}


def get_exceptions() -> list[dict[str, Any]]:
    """Returns the last recorded exceptions, newest first, as plain data."""
    return list(reversed(exception_records))


def record_exception() -> None:
    """Remembers the exception being handled, for the system information page; a repetition of the last is dropped."""
    _, e, tb = sys.exc_info()
    if e is None:
        return

    record = format_exception(e, tb)
    if not exception_records or exception_records[-1] != record:
        exception_records.append(record)


def report(message: str, *, exc_info: bool = False) -> None:
    """Logs an error; with exc_info the traceback of the exception being handled follows the message."""
    record_exception()
    logger.error("%s", message, exc_info=exc_info)


def print_error_explanation(message: str) -> None:
    """Logs a message of several lines framed, so that it stands out among other output."""
    lines = textwrap.dedent(message).strip().splitlines()
    rule = "=" * max(map(len, lines), default=0)
    logger.error("\n%s", "\n".join([rule, *lines, rule]))


def display(e: Exception, task: str, *, full_traceback: bool = False) -> None:
    """Logs exception e together with the task that failed; full_traceback shows the callers of the handler too."""
    record_exception()
    trace = traceback.TracebackException.from_exception(e)
    if full_traceback:
        trace.stack = traceback.StackSummary.from_list(traceback.extract_stack()[:-1] + list(trace.stack))
    logger.error("%s: %s\n%s", task or "error", type(e).__name__, "".join(trace.format()).rstrip())


def display_once(e: Exception, task: str) -> None:
    """As display, but only the first time this task fails."""
    record_exception()
    if task not in already_displayed:
        already_displayed[task] = True
        display(e, task)


def run(code: Callable[[], object], task: str) -> None:
    """Calls code; an exception is displayed as a failure of task and goes no further."""
    try:
        code()
    except Exception as e:
        display(e, task)


def check_versions(expected: dict[str, str] | None = None) -> list[str]:
    """Warns of installed packages that are not the expected versions; returns their names.

    expected: package name -> version. The local part of a version ("2.13.0+cpu") is not compared.
    """
    different = []
    for name, wanted in (expected or {}).items():
        installed = metadata.version(name)
        if installed.partition("+")[0] != wanted:
            different.append(name)
            logger.warning(
                "%s is %s, this program is tested with %s: start with --reinstall-torch to replace it, "
                "or with --skip-version-check to hide this message",
                name,
                installed,
                wanted,
            )
    return different
