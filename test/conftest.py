"""Sets the program up for tests: a fresh data directory, CPU, float32, the embedded model, no network.

The flags have to be in place before anything of `modules` is imported, because extensions (and so our own modules) may read them at import.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA_DIR = Path(tempfile.mkdtemp(prefix="serena-test-"))

os.environ.pop("COMMANDLINE_ARGS", None)
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(ROOT))
sys.argv = ["webui.py", "--data-dir", str(DATA_DIR), "--use-cpu", "all", "--no-half", "--precision", "full"]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The --data-dir of this test run."""
    return DATA_DIR


@pytest.fixture(scope="session")
def sd_model():
    """The embedded model, loaded once, as `shared.sd_model`."""
    from modules import initialize, shared

    initialize.initialize_for_tests()
    return shared.sd_model
