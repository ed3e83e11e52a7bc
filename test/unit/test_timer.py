import logging

import pytest

from modules import timer
from modules.timer import Timer


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until its hands are moved."""
    hands = [100.0]
    monkeypatch.setattr(timer.time, "time", lambda: hands[0])
    return hands


def test_record_books_the_time_since_the_last_record(clock):
    measured = Timer()
    clock[0] += 2
    measured.record("a")
    clock[0] += 3
    measured.record("b", extra_time=1)
    clock[0] += 1
    measured.record("a")
    assert measured.dump() == {"total": 7.0, "records": {"a": 3.0, "b": 4.0}}


def test_subcategory_names_its_records_and_adds_up(clock):
    measured = Timer()
    clock[0] += 1
    measured.record("before")
    with measured.subcategory("load"):
        clock[0] += 2
        measured.record("x")
        with measured.subcategory("deep"):
            clock[0] += 3
            measured.record("y")
    assert measured.records == {"before": 1.0, "load/x": 2.0, "load/deep/y": 3.0, "load/deep": 3.0, "load": 5.0}
    assert measured.total == 6.0


def test_summary_shows_outer_categories_that_took_long_enough(clock):
    measured = Timer()
    assert measured.summary() == "0.0s."
    with measured.subcategory("load"):
        clock[0] += 2
        measured.record("x")
    clock[0] += 0.01
    measured.record("short")
    assert measured.summary() == "2.0s (load: 2.0s)."


def test_reset_forgets(clock):
    measured = Timer()
    clock[0] += 2
    measured.record("a")
    measured.reset()
    clock[0] += 1
    measured.record("b")
    assert measured.dump() == {"total": 1.0, "records": {"b": 1.0}}


def test_records_are_logged_when_asked_for(clock, caplog):
    caplog.set_level(logging.INFO)
    for print_log in (False, True):
        measured = Timer(print_log)
        with measured.subcategory("load"):
            clock[0] += 2
            measured.record("x")
            measured.record("quiet", disable_log=True)
    assert [record.message for record in caplog.records] == ["load:", "  x: done in 2.000s", "load: done in 2.000s"]
