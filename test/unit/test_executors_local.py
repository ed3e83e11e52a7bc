"""The process of a worker: what becomes of it when the program that has started it is killed."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from modules.paths_internal import script_path

SECONDS = 90

WORKER = """
import os, time
from modules import worker
worker.start = lambda: time.sleep(1000 * (os.environ["STATE"] == "starting"))  # nothing is made here
worker.facts = dict
worker.main()
"""

SERVER = """
import os, sys, time
sys.argv = ["launch.py", "--data-dir", sys.argv[1]]
from modules.executors import local, names, wire
wire.ENTRY = "worker_without_model"
worker = local.LocalWorker("one", names.Device(), sys.argv[1:])
print(worker.receive()[0] if os.environ["STATE"] == "ready" else "starting", worker.process.pid, flush=True)
time.sleep(1000)
"""


def is_over(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("state", ["starting", "ready"])
def test_a_worker_ends_when_its_server_is_killed(tmp_path, state):
    (tmp_path / "worker_without_model.py").write_text(WORKER)
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([script_path, str(tmp_path)]), "STATE": state}
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(command, env=variables, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            name, pid = server.stdout.readline().split()
            assert name == state and not is_over(int(pid))
        finally:
            server.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while not is_over(int(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
