"""Sets the program up for tests: a fresh data directory, CPU, float32, the embedded model, no network.

The flags have to be in place before anything of `modules` is imported, because extensions (and so our own modules) may
read them at import.
"""

import gc
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest_plugins = ["test.browser"]

ROOT = Path(__file__).resolve().parent.parent
DATA_DIR = Path(tempfile.mkdtemp(prefix="serena-test-"))

os.environ.pop("COMMANDLINE_ARGS", None)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # as the launcher does
sys.path.insert(0, str(ROOT))
shutil.copy(ROOT / "test" / "golden" / "inputs" / "styles.csv", DATA_DIR / "styles.csv")
sys.argv = ["webui.py", "--data-dir", str(DATA_DIR), "--use-cpu", "all", "--no-half", "--precision", "full", "--api"]


def leave_to_the_end() -> None:
    """Has the garbage collector look no more at what there is now, most of which lives as long as the test run."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """Leaves the collected tests and all they have imported out of garbage collection."""
    leave_to_the_end()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The --data-dir of this test run."""
    return DATA_DIR


@pytest.fixture
def settings():
    """settings(name=value, ...) lays settings over those of the test run, for one test."""
    from modules import shared

    with ExitStack() as stack:
        yield lambda **values: stack.enter_context(shared.opts.overlay(values))


@pytest.fixture(autouse=True)
def no_job_left_over():
    """A test that makes images without a job leaves the name and the number of its batches to no other test."""
    yield
    if shared := sys.modules.get("modules.shared"):
        shared.state.job, shared.state.job_count = "", 0


@pytest.fixture
def fresh_state():
    """The state of a job that has just begun, in `shared.state`."""
    from modules import shared

    shared.state.begin("test")
    yield
    shared.state.end()


@pytest.fixture(scope="session")
def program() -> None:
    """The program after its start-up steps: registries filled, scripts loaded."""
    from modules import initialize

    initialize.initialize()
    leave_to_the_end()


@pytest.fixture(scope="session")
def loaded_program(program) -> None:
    """The program with its model loaded."""
    from modules import shared

    assert shared.sd_model is not None


@pytest.fixture
def sd_model(loaded_program):
    """The embedded model, as `shared.sd_model`: another object after tests that choose other checkpoints."""
    from modules import shared

    return shared.sd_model


@pytest.fixture(scope="session")
def app(loaded_program):
    """The complete application: page, API and routes."""
    import webui

    made = webui.create_app()
    leave_to_the_end()
    return made


@pytest.fixture(scope="module")
def running(app):
    """The application behind uvicorn, on a port of this computer: `running.url`, `running.port`."""
    from modules import server

    served = server.Server(server.open_socket("127.0.0.1", 28860, server.PORTS_TO_TRY))
    served.start()
    served.attach(app)
    yield served
    served.detach()
    served.stop()


@pytest.fixture(scope="session")
def client(app):
    """A client of the application in this process; an error of the server comes as its answer, as for any client."""
    from fastapi.testclient import TestClient

    with TestClient(app, raise_server_exceptions=False) as test_client:
        yield test_client
