"""What the code of extensions took and where it failed: by extension, hook, file and line, and for a job."""

import functools
from types import SimpleNamespace

import pytest

from modules import errors, extensions, hook_records
from modules.api import http_errors
from modules.hook_records import Call, HookRecords

CODE = """
def helper():
    return 1 / 0


def hook():
    return helper()
"""


@pytest.fixture
def records(monkeypatch):
    fresh = HookRecords()
    monkeypatch.setattr(hook_records, "records", fresh)
    return fresh


@pytest.fixture
def extension(tmp_path, monkeypatch):
    """An extension whose script fails in a function of its own; with what the script defines."""
    script = tmp_path / "broken" / "scripts" / "main.py"
    script.parent.mkdir(parents=True)
    script.write_text(CODE, encoding="utf8")
    found = extensions.Extension("broken", str(tmp_path / "broken"))
    monkeypatch.setitem(extensions.extension_paths, str(tmp_path / "broken"), found)
    names = {}
    exec(compile(CODE, str(script), "exec"), names)
    return str(script), names


def test_a_failure_is_named_with_extension_hook_file_and_line(records, extension, caplog):
    script, names = extension
    with Call("process", script) as call:
        names["hook"]()
    expected = "Extension broken failed in process (scripts/main.py, line 3): ZeroDivisionError: division by zero"
    assert str(call.failure) == expected
    assert expected in caplog.text and "Traceback" in caplog.text
    assert records.of_extension(extensions.find_extension(script).path) == [call.failure]


def test_a_failure_of_a_script_is_told_without_a_place_when_it_came_through_none_of_its_lines(records):
    with Call("ui", "/somewhere/mine.py") as call:
        raise ValueError("no\nmore")
    assert str(call.failure) == "Script mine.py failed in ui: ValueError: no"


def test_a_file_with_a_wrong_syntax_is_named_with_its_line(records, extension):
    script, _ = extension
    with Call("load", script) as call:
        compile("x = 1\nif", script, "exec")
    assert (call.failure.file, call.failure.line) == (script, 2)


def test_what_to_do_is_told_beside_the_error(records):
    with Call("load", "mine.py", lambda error: f"pip install {error.name}") as call:
        raise ModuleNotFoundError("No module named 'x'", name="x")
    assert str(call.failure).endswith("ModuleNotFoundError: No module named 'x': pip install x")


def test_interruptions_pass(records):
    with pytest.raises(KeyboardInterrupt), Call("process", "mine.py"):
        raise KeyboardInterrupt
    assert records.failures == {}


def test_a_failure_that_comes_again_is_counted(records):
    for _ in range(3):
        with Call("process", "mine.py"):
            raise ValueError("x")
    assert list(records.failures.values()) == [3]


def test_calls_are_added_up_for_the_start_and_for_jobs(records):
    for script in ("a.py", "b.py", "a.py"):
        with Call("load", script):
            pass
    records.end_start()
    with Call("ui", "c.py"):
        pass
    with records.job(), records.job(), Call("process", "b.py"):
        pass
    assert list(records.at_start) == ["a.py", "b.py"] and list(records.in_jobs) == ["b.py"]
    assert records.jobs == 1 and min(*records.at_start.values(), *records.in_jobs.values()) > 0
    records.restart()
    assert records.at_start == records.in_jobs == {} and records.jobs == 0


def test_a_job_learns_once_what_failed_in_it(records):
    with Call("load", "mine.py"):
        raise ValueError("before")
    with records.job() as failed:
        for _ in range(2):
            with Call("process", "mine.py"):
                raise ValueError("in it")
    assert [failure.error for failure in failed] == ["ValueError: in it"]


def test_a_start_tells_whose_code_runs(records):
    told = []
    records.on_call = told.append
    with Call("load", "a.py"):
        assert told == ["a.py"]


def test_an_error_of_a_route_belongs_to_the_extension_it_came_through(records, extension):
    script, names = extension
    request = SimpleNamespace(url=SimpleNamespace(path="/mine/x"))
    try:
        names["hook"]()
    except ZeroDivisionError as error:
        assert http_errors.unexpected_error(request, error).status_code == 500
    assert [str(failure) for failure in records.failures] == [
        "Extension broken failed in route /mine/x (scripts/main.py, line 3): ZeroDivisionError: division by zero"
    ]
    assert http_errors.unexpected_error(request, ValueError("ours")).status_code == 500
    assert len(records.failures) == 1


def test_a_failure_that_goes_far_is_remembered_once_and_those_of_others_are_not(records, extension):
    script, names = extension
    try:
        names["hook"]()
    except ZeroDivisionError as error:
        failure = records.fail_in_extension("run", error)
        assert records.fail_in_extension("event", error) is failure
    assert str(failure).startswith("Extension broken failed in run (scripts/main.py, line 3)")
    assert records.fail_in_extension("event", ValueError("ours"), len) is None
    assert records.fail_in_extension("event", errors.InvalidInput("the user's"), names["hook"]) is None
    assert list(records.failures.values()) == [1]


def test_what_a_handler_returns_wrongly_is_told_of_its_file(records, extension):
    script, names = extension

    class Handler:
        __call__ = names["hook"]

    wrapped = functools.wraps(names["hook"])(lambda: None)
    for function in (names["hook"], functools.partial(names["hook"], 1), wrapped, Handler()):
        failure = records.fail_in_extension("event", ValueError("too few outputs"), function)
        assert str(failure) == "Extension broken failed in event: ValueError: too few outputs"
