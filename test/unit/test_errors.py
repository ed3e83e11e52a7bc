import logging

import pytest

from modules import errors


@pytest.fixture(autouse=True)
def no_records():
    errors.exception_records.clear()
    errors.already_displayed.clear()


def raise_and_report(message, exc_info=True):
    try:
        raise ValueError(message)
    except ValueError:
        errors.report(f"reported {message}", exc_info=exc_info)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.WebuiError, 500),
        (errors.InvalidInput, 422),
        (errors.NotFound, 404),
        (errors.NotSupported, 501),
        (errors.ModelLoadError, 422),
        (errors.OutOfMemory, 507),
        (errors.Busy, 409),
    ],
)
def test_domain_errors_carry_status_message_and_field(error, status):
    e = error("no such thing", field="steps")
    assert isinstance(e, errors.WebuiError)
    assert (e.http_status, str(e), e.field) == (status, "no such thing", "steps")


def test_report_logs_message_and_traceback(caplog):
    raise_and_report("a")
    assert "reported a" in caplog.text and "ValueError: a" in caplog.text


def test_report_without_exception_logs_message_only(caplog):
    errors.report("just words")
    assert "just words" in caplog.text
    assert errors.get_exceptions() == []


def test_message_with_percent_sign_is_logged_as_it_is(caplog):
    errors.report("100 %s of it")
    assert "100 %s of it" in caplog.text


def test_exceptions_are_kept_newest_first_without_repetition():
    for message in ["a", "b", "b", "c", "d", "e", "f"]:
        raise_and_report(message, exc_info=False)
    assert [record["exception"] for record in errors.get_exceptions()] == ["f", "e", "d", "c", "b"]


def test_record_holds_place_and_source_of_each_frame():
    raise_and_report("a")
    (place, source), *_ = errors.get_exceptions()[0]["traceback"]
    assert "test_errors.py, line" in place and "raise_and_report" in place
    assert source == "raise ValueError(message)"


def test_display_names_task_and_exception(caplog):
    try:
        raise ValueError("broken")
    except ValueError as e:
        errors.display(e, "loading x")
    assert "loading x: ValueError" in caplog.text and "broken" in caplog.text
    assert "test_display_names_task_and_exception" in caplog.text


def test_display_with_full_traceback_shows_the_callers(caplog):
    try:
        raise ValueError("broken")
    except ValueError as e:
        errors.display(e, "loading x", full_traceback=True)
    assert caplog.text.count('File "') > 5


def test_display_once_is_silent_the_second_time(caplog):
    for _ in range(2):
        errors.display_once(ValueError("broken"), "loading y")
    assert caplog.text.count("loading y") == 1


def test_run_passes_no_exception_on(caplog):
    errors.run(lambda: 1 / 0, "dividing")
    assert "dividing: ZeroDivisionError" in caplog.text


def test_explanation_is_framed(caplog):
    errors.print_error_explanation(
        """
        first
            second line
        """
    )
    lines = caplog.text.splitlines()
    assert lines[1:] == ["===============", "first", "    second line", "==============="]


def test_check_versions_warns_of_a_different_version_only(caplog):
    installed = errors.metadata.version("pytest")
    with caplog.at_level(logging.WARNING):
        assert errors.check_versions({"pytest": installed}) == []
        assert errors.check_versions({"pytest": "0.0.1"}) == ["pytest"]
    assert f"pytest is {installed}, this program is tested with 0.0.1" in caplog.text


def test_a_message_that_quotes_a_long_value_keeps_its_beginning_and_its_end():
    error = errors.InvalidInput(f"steps: {'9' * 1_000_000} is no number: write one of 1 to 150", field="steps")
    assert len(str(error)) < 5000
    assert str(error).startswith("steps: 999")
    assert str(error).endswith("999 is no number: write one of 1 to 150")
    assert str(errors.InvalidInput("short")) == "short"
