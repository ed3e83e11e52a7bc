"""The HTML around the outcome of a job."""

import pytest

from modules import errors, ui_job_outputs


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.InvalidInput("steps is <0>"), "steps is &lt;0&gt;"),
        (KeyError("x"), "KeyError: &#x27;x&#x27;"),
    ],
)
def test_only_unforeseen_errors_show_their_kind(error, text):
    assert ui_job_outputs.error_html(error) == f"<div class='error'>{text}</div>"


@pytest.mark.parametrize(("seconds", "text"), [(1.25, "1.2 sec."), (61.0, "1 min. 1.0 sec.")])
def test_time_taken_is_told(seconds, text):
    assert text in ui_job_outputs.stats_html(seconds, {})


def test_memory_is_told_only_where_it_can_be_measured():
    mebibyte = 1024 * 1024
    memory = {"active_peak": 1024, "reserved_peak": 2048, "system_peak": 4096, "total": 8192}
    peak = {name: value * mebibyte - 1 for name, value in memory.items()}
    assert "class='vram'" not in ui_job_outputs.stats_html(1.0, {})
    assert ui_job_outputs.vram_html(memory) in ui_job_outputs.stats_html(1.0, peak)


def test_memory_is_told_in_gigabytes():
    shown = ui_job_outputs.vram_html({"active_peak": 1024, "reserved_peak": 2048, "system_peak": 4096, "total": 8192})
    assert "1.00 GB" in shown and "2.00 GB" in shown and "4.0/8 GB" in shown and "(50.0%)" in shown
