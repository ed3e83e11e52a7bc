"""state: what the code of extensions took and where it failed: seconds at the start and in jobs, each failure with
file, hook and line.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from modules import errors, extensions
from modules.hook_watch import watch
from modules.shared_cmd_options import cmd_opts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """An exception that came out of the code of an extension.

    script: the file that was loaded, or whose hook was called. file, line: the last place in the extension's own code.
    hook: of the tables in `modules.hooks`, or what was done instead: load, preload, make, ui, route, event, run. cause:
    what to do about it, empty where nobody knows.
    """

    script: str
    hook: str
    file: str
    line: int
    error: str
    cause: str = ""

    def __str__(self) -> str:
        """Returns it as one sentence."""
        extension = extensions.find_extension(self.script)
        owner = f"Extension {extension.name}" if extension else f"Script {os.path.basename(self.script)}"
        file = self.file
        if extension is not None:
            file = os.path.relpath(os.path.realpath(file), os.path.realpath(extension.path))
        place = f" ({file}, line {self.line})" if self.line else ""
        cause = f": {self.cause}" if self.cause else ""
        return f"{owner} failed in {self.hook}{place}: {self.error}{cause}"


def place_of(error: BaseException, script: str) -> tuple[str, int]:
    """Returns file and line of the last place in an extension's own code that an exception came through."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return error.filename, error.lineno
    extension = extensions.find_extension(script)
    folder = os.path.realpath(extension.path if extension else script)
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    own = [frame for frame in frames if f"{os.path.realpath(frame[0])}{os.sep}".startswith(f"{folder}{os.sep}")]
    return (own or [(script, 0)])[-1]


def extension_file_in(error: BaseException) -> str:
    """Returns the last file of an extension that an exception came through; empty if it came through none."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return next((file for file in reversed(files) if extensions.find_extension(file) is not None), "")


def file_of(function: Any) -> str:
    """Returns the file of an extension that a function, method, partial or object to call was written in; else ""."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return code.co_filename if code is not None and extensions.find_extension(code.co_filename) is not None else ""


class HookRecords:
    """What is known since the start, or the last reload.

    at_start, in_jobs: script -> seconds, files in the order in which they were loaded. jobs: how many were measured.
    failures: each with how often it happened.
    """

    def __init__(self) -> None:
        self.on_call: Callable[[str], None] | None = None
        """Is told of each file whose code is about to run during a start, and "" when it has run; but not of the
        thousands of calls for components.
        """
        self.restart()

    def restart(self) -> None:
        """Forgets everything: extensions are loaded anew."""
        self.at_start: dict[str, float] = {}
        self.in_jobs: dict[str, float] = {}
        self.jobs = 0
        self.failures: dict[Failure, int] = {}
        self._seconds: dict[str, float] | None = self.at_start
        self._failed_in_job: list[Failure] | None = None

    def end_start(self) -> None:
        """Ends the start: what runs outside of jobs is measured no more."""
        self._seconds = None
        self.on_call = None

    @contextmanager
    def job(self) -> Iterator[list[Failure]]:
        """Measures a job, and yields the list of what fails in it. A job inside of a job is a part of it."""
        if self._failed_in_job is not None:
            yield self._failed_in_job
            return
        before, self._seconds = self._seconds, self.in_jobs
        self._failed_in_job = failed = []
        try:
            yield failed
        finally:
            self._failed_in_job = None
            self._seconds = before
            self.jobs += 1

    def add(self, script: str, seconds: float) -> None:
        """Adds what a call took."""
        if self._seconds is not None:
            self._seconds[script] = self._seconds.get(script, 0.0) + seconds

    def fail(self, hook: str, script: str, error: BaseException, cause: str = "") -> Failure:
        """Remembers a failure."""
        file, line = place_of(error, script)
        message = str(error).strip().partition("\n")[0]
        failure = Failure(script, hook, file, line, errors.shortened(f"{type(error).__name__}: {message}"), cause)
        self.failures[failure] = self.failures.get(failure, 0) + 1
        if self._failed_in_job is not None and failure not in self._failed_in_job:
            self._failed_in_job.append(failure)
        return failure

    def fail_in_extension(self, hook: str, error: Exception, function: Any = None) -> Failure | None:
        """Remembers an exception that came out of the code of an extension, once however far it goes; returns None for
        any other, and for a domain error, which is the user's. function: what was called, whose own file counts where
        the exception came through none.
        """
        if isinstance(error, errors.WebuiError):
            return None
        failure = getattr(error, "extension_failure", None)
        if failure is None and (script := extension_file_in(error) or file_of(function)):
            failure = error.extension_failure = self.fail(hook, script, error)  # type: ignore[attr-defined]
        return failure

    def of_extension(self, path: str) -> list[Failure]:
        """Returns what failed of the extension in a folder."""
        owned = {f.script: extensions.find_extension(f.script) for f in self.failures}
        return [f for f in self.failures if (found := owned[f.script]) is not None and found.path == path]


records = HookRecords()


class Call:
    """While entered, code of an extension runs: its time is added up, it is named when it hangs, and an exception is
    remembered and goes no further. Interruptions pass: they are no Exception. failure: what went wrong, None while
    nothing has.
    """

    __slots__ = ("failure", "hook", "how_to_fix", "script", "started")

    def __init__(self, hook: str, script: str | None, how_to_fix: Callable[[Exception], str] | None = None):
        self.hook = hook
        self.script = script or "unknown file"
        self.how_to_fix = how_to_fix
        self.failure: Failure | None = None

    def __enter__(self) -> Call:
        self.tell(self.script)
        self.started = time.perf_counter()
        watch.enter(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        watch.leave(self)
        seconds = time.perf_counter() - self.started
        self.tell("")
        records.add(self.script, seconds)
        is_failure = isinstance(error, Exception)
        if is_failure:
            cause = self.how_to_fix(error) if self.how_to_fix is not None else ""
            self.failure = records.fail(self.hook, self.script, error, cause)
            errors.report(f"{self.failure} [{self.script}]", exc_info=True)
        if cmd_opts.trace_hooks:
            logger.info("hook %s: %s (%.1f ms)", self.hook, self.script, seconds * 1000)
        return is_failure

    def tell(self, script: str) -> None:
        """Tells who wants to know during a start whose code runs."""
        if records.on_call is not None and not self.hook.endswith("_component"):
            records.on_call(script)
