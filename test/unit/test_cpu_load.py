"""How many cores are free, by files of their own."""

import os

import pytest

from modules import cpu_load


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Has four cores; call it with what the file about its load says."""
    file = tmp_path / "loadavg"
    monkeypatch.setattr(cpu_load, "LOADAVG", file)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return file.write_text


@pytest.mark.parametrize("running, free", [(0, 4), (1, 4), (2, 3), (4, 1), (5, 1), (90, 1)])
def test_each_thread_that_runs_beside_this_one_takes_a_core(machine, running, free):
    machine(f"3.20 1.18 0.12 {running}/450 11206\n")
    assert cpu_load.cores_for(4) == free
    assert cpu_load.cores_for(1) == 1


@pytest.mark.parametrize("text", ["", "0.20", "0.20 0.18 0.12 many/450 11206"])
def test_what_cannot_be_read_is_an_idle_machine(machine, text):
    machine(text)
    assert cpu_load.cores_for(4) == 4


def test_a_machine_that_does_not_tell_is_idle(machine):
    assert not cpu_load.LOADAVG.exists()
    assert cpu_load.cores_for(4) == 4


def test_who_runs_for_a_moment_takes_no_core(monkeypatch):
    readings = iter([3, 1, 2])
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cpu_load, "others_that_run", lambda: next(readings))
    assert cpu_load.cores_for(4) == 3
