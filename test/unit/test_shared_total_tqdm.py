"""The console bar of a whole job."""

import io
from types import SimpleNamespace

import pytest

from modules.options import OptionInfo, Options
from modules.shared_state import State
from modules.shared_total_tqdm import TotalTQDM


@pytest.fixture
def opts():
    return Options({"multiple_tqdm": OptionInfo(True)}, ())


@pytest.fixture
def output():
    return io.StringIO()


@pytest.fixture
def bar(opts, output):
    state = State(opts)
    state.job_count, state.sampling_steps = 2, 10
    return TotalTQDM(opts, state, SimpleNamespace(disable_console_progressbars=False), output)


def test_it_counts_to_the_steps_of_all_batches(bar, output):
    for _ in range(3):
        bar.update()
    bar.clear()
    assert "Total progress" in output.getvalue()
    assert "3/20" in output.getvalue()


def test_the_number_of_steps_can_change(bar, output):
    bar.updateTotal(40)
    bar.update()
    bar.clear()
    assert "1/40" in output.getvalue()


def test_it_is_not_shown_when_switched_off(bar, opts, output):
    opts.multiple_tqdm = False
    bar.update()
    bar.updateTotal(5)
    bar.clear()
    assert output.getvalue() == ""
