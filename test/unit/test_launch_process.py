"""Threads and memory of a process before torch is loaded."""

import os
import subprocess
import sys

import pytest

from modules import launch_process, paths_internal


@pytest.mark.parametrize("name", [None, *launch_process.WAIT_VARIABLES])
def test_threads_spin_for_a_moment_unless_the_user_says_how(monkeypatch, name):
    for variable in launch_process.WAIT_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable in launch_process.WAITING:
        monkeypatch.setenv(variable, "to be restored")
        monkeypatch.delenv(variable)
    if name is not None:
        monkeypatch.setenv(name, "ACTIVE")
    launch_process.choose_waiting()
    found = {variable: os.environ[variable] for variable in launch_process.WAIT_VARIABLES if variable in os.environ}
    assert found == (launch_process.WAITING if name is None else {name: "ACTIVE"})


@pytest.mark.parametrize("given", [None, "AVX2"])
def test_sums_do_not_depend_on_threads_unless_the_user_says_how_to_add(monkeypatch, given):
    monkeypatch.setenv("MKL_CBWR", given or "")
    if given is None:
        monkeypatch.delenv("MKL_CBWR")
    launch_process.add_in_one_order()
    assert os.environ["MKL_CBWR"] == (given or launch_process.STRICT_SUMS)


@pytest.mark.parametrize(
    "environment, may",
    [
        ({}, True),
        ({"OMP_WAIT_POLICY": "passive"}, True),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, False),
        ({"GOMP_SPINCOUNT": "1000000"}, False),
        ({"OMP_NUM_THREADS": "2"}, False),
        ({"MKL_CBWR": "AVX2"}, False),
    ],
)
def test_threads_follow_the_load_unless_the_user_has_chosen(monkeypatch, environment, may):
    for variable in (*launch_process.WAIT_VARIABLES, "MKL_CBWR", "OMP_NUM_THREADS"):
        monkeypatch.setenv(variable, environment.get(variable, ""))
        if variable not in environment:
            monkeypatch.delenv(variable)
    monkeypatch.setattr(launch_process, "fitted", launch_process.Fitted())
    launch_process.choose_waiting()
    launch_process.add_in_one_order()
    assert launch_process.may_change_threads() == may


MEASURE_KEPT = """
import os, psutil
from modules import launch_process
launch_process.keep_freed_memory()
import torch
resident = lambda: psutil.Process().memory_info().rss
before = resident()
torch.ones(2**25)  # 128 MB
print(resident() - before > 2**26)
from modules import devices
devices.main_memory.give_back()
print(resident() - before > 2**26)
launch_process.give_back_freed_memory()
torch.ones(2**25)
print(resident() - before > 2**26)
launch_process.keep_freed_memory()
torch.ones(2**25)
print(resident() - before > 2**26)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="for glibc")
@pytest.mark.parametrize(
    "variables, kept", [({}, "True False False True"), ({"MALLOC_ARENA_MAX": "4"}, "False False False False")]
)
def test_freed_memory_is_kept_until_it_is_given_back_unless_the_user_says_how(variables, kept):
    environment = {name: value for name, value in os.environ.items() if name not in launch_process.ALLOCATOR_VARIABLES}
    command = [sys.executable, "-c", MEASURE_KEPT]
    root = paths_internal.script_path
    found = subprocess.run(command, env=environment | variables, cwd=root, capture_output=True, text=True)
    assert found.stdout.split() == kept.split(), found.stderr


@pytest.mark.parametrize(
    "files, limit",
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"mine/here/cpu.max": "max 100000", "mine/cpu.max": "400000 200000", "cpu.max": "max 100000"}, 2),
        ({"mine/here/cpu.max": "300000 100000", "mine/cpu.max": "400000 100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "something new"}, None),
        ({}, None),
    ],
)
def test_limit_of_a_container(monkeypatch, tmp_path, files, limit):
    groups = tmp_path / "groups"
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text + "\n")
    own = tmp_path / "own"
    own.write_text("1:name=systemd:/else\n0::/mine/here\n")
    monkeypatch.setattr(launch_process, "CGROUPS", groups)
    monkeypatch.setattr(launch_process, "OWN_GROUP", own)
    assert launch_process.core_limit() == limit


def test_without_control_groups_there_is_no_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(launch_process, "OWN_GROUP", tmp_path / "none")
    assert launch_process.core_limit() is None


@pytest.mark.parametrize(
    "limit, given, threads",
    [(None, None, None), (2.5, None, "2"), (0.5, None, "1"), (2.5, "7", "7"), (64.0, None, None)],
)
def test_as_many_threads_as_a_container_has_cores(monkeypatch, limit, given, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", given or "")
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(launch_process, "core_limit", lambda: limit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(64), raising=False)
    monkeypatch.setattr(launch_process, "fitted", launch_process.Fitted())
    launch_process.fit_threads()
    assert os.environ.get("OMP_NUM_THREADS") == threads
    assert launch_process.chosen_threads() == given  # what the program has set is no choice of the user's
    assert launch_process.cores() == (64 if limit is None else max(1, min(64, int(limit))))
