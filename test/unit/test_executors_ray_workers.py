"""Two actors of a local Ray, behind the real API. Skipped where Ray is not installed."""

import os
import signal

import pytest

from modules.executors import kinds, names
from test.unit import test_executors_pool as local

pytest.importorskip("ray")

alone, options = local.alone, local.options


@pytest.fixture(scope="module")
def pool(client):
    local.classic(client)
    made = kinds.make_pool(names.parse("cpu*2", lambda: 0), "local")
    made.start()
    local.until(lambda: len(made._idle) == 2)
    yield made
    made.close()


@pytest.fixture
def end_of():
    """Kills the process of a worker."""
    return lambda worker: os.kill(worker.link.pid(), signal.SIGKILL)


test_runs_are_shared = local.test_a_run_that_is_shared_equals_one_of_one_process
test_progress_and_previews = local.test_progress_previews_and_the_end_of_one_of_two
test_lost_workers = local.test_what_a_lost_worker_has_not_finished_is_made_elsewhere
