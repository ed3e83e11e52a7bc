"""Small checkpoints of all families, written once a test run and loaded once a file of tests."""

import pytest


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory):
    """tiny_files(kind) is the path of a small checkpoint and the networks in it; see tools/tiny_checkpoints.py.

    They are in one folder, under the name tiny-KIND.
    """
    from tools import tiny_checkpoints

    folder, written = tmp_path_factory.mktemp("tiny"), {}

    def of(kind):
        path = folder / f"tiny-{kind}.safetensors"
        if kind not in written:
            written[kind] = tiny_checkpoints.write(kind, path)
        return path, written[kind]

    return of


@pytest.fixture(scope="module")
def files(tiny_files, request):
    """The folder of the checkpoints of all KINDS of a file of tests, and the networks that are in each."""
    kinds = request.module.KINDS
    return tiny_files(kinds[0])[0].parent, {kind: tiny_files(kind)[1] for kind in kinds}


@pytest.fixture(scope="module")
def loaded(files, loaded_program):
    """What `use` uses. The models stay loaded until the last test of a file."""
    from test.unit.diffusers_pipelines import chosen_from

    with chosen_from(files[0]) as choose:
        yield choose


@pytest.fixture
def use(loaded):
    """use(kind) makes a checkpoint of that kind current and returns its model; after the test it is the embedded one.

    Tests of a file get the same model, and leave it as it was.
    """
    from test.unit.diffusers_pipelines import EMBEDDED

    yield loaded
    loaded(EMBEDDED)
