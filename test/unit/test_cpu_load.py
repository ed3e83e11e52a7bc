"""How many cores are free, by files of their own."""

import os
import time

import pytest

from modules import cpu_load

TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """Four cores, and what the files about them say."""

    def __init__(self, folder):
        self.loadavg, self.stat = folder / "loadavg", folder / "stat"
        self.now = self.own = 100.0
        self.others = 0.0
        self.slept = 0.0

    def shows(self, running):
        self.loadavg.write_text(f"3.20 1.18 0.12 {running}/450 11206\n")

    def passes(self, seconds, others, own=0.0):
        """Others take so many cores meanwhile, this program its own."""
        self.now += seconds
        self.others += others * seconds
        self.own += own * seconds
        used = round(TICKS * (self.others + self.own))
        self.stat.write_text(f"cpu  {used // 2} 0 {used - used // 2} 9999 77 0 0 0 0 0\ncpu0 1 2 3 4\n")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    machine = Machine(tmp_path)
    monkeypatch.setattr(cpu_load, "LOADAVG", machine.loadavg)
    monkeypatch.setattr(cpu_load, "STAT", machine.stat)
    monkeypatch.setattr(cpu_load, "watch", cpu_load.Watch())
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(time, "monotonic", lambda: machine.now)
    monkeypatch.setattr(time, "process_time", lambda: machine.own)
    return machine


@pytest.fixture
def meanwhile(monkeypatch, machine):
    """meanwhile(others, own): what happens while the program waits."""

    def meanwhile(others, own=0.0):
        machine.passes(0, 0)

        def sleep(seconds):
            machine.slept += seconds
            machine.passes(seconds, others, own)

        monkeypatch.setattr(time, "sleep", sleep)

    return meanwhile


@pytest.mark.parametrize("others, free", [(0, 4), (1, 3), (1.2, 3), (3, 1), (4, 1), (90, 1)])
def test_programs_that_compute_take_cores(machine, meanwhile, others, free):
    machine.shows(6)
    meanwhile(others)
    assert cpu_load.cores_for(4) == free
    assert cpu_load.cores_for(1) == 1


def test_own_threads_take_none(machine, meanwhile):
    machine.shows(3)
    meanwhile(others=0.1, own=2)
    assert cpu_load.cores_for(4) == 4


def test_where_nobody_runs_nobody_waits(machine, meanwhile):
    machine.shows(1)
    meanwhile(others=9)
    assert (cpu_load.cores_for(4), machine.slept) == (4, 0)


def test_between_jobs_the_last_one_is_looked_at(machine, meanwhile):
    machine.shows(4)
    meanwhile(others=1)
    assert cpu_load.cores_for(4) == 3
    slept = machine.slept
    machine.passes(0.5, others=2, own=2)
    assert (cpu_load.cores_for(4), machine.slept) == (2, slept)
    machine.passes(60, others=0)
    assert cpu_load.cores_for(4) == 3, "what happens now, not in a minute"
    assert machine.slept > slept


@pytest.mark.parametrize("text", ["", "0.20", "0.20 0.18 0.12 many/450 11206"])
def test_what_cannot_be_read_is_an_idle_machine(machine, text):
    machine.loadavg.write_text(text)
    assert cpu_load.cores_for(4) == 4


def test_a_machine_that_does_not_tell_is_idle(machine):
    assert cpu_load.cores_for(4) == 4
    machine.shows(4)
    assert cpu_load.cores_for(4) == 4
