"""The same for prompts with networks, embeddings and hypernetworks: v1.10.1's pictures and infotexts."""

import shutil
from pathlib import Path

import pytest

from modules import shared
from test.quality import golden

NETWORKS = golden.GoldenSet(golden.TEST / "golden_networks")

LEAKS = "lora_disable_extra_networks"
"""v1.10.1 leaves the network of the job before in the model there; docs/compatibility.md has a row on it."""


@pytest.fixture(scope="module")
def folders(client):
    """The files the cases name, where the program looks for them."""
    flags = shared.cmd_opts
    places = {"Lora": flags.lora_dir, "embeddings": flags.embeddings_dir, "hypernetworks": flags.hypernetwork_dir}
    copies = []
    for name, folder in places.items():
        Path(folder).mkdir(parents=True, exist_ok=True)
        copies += [shutil.copy(file, folder) for file in (NETWORKS.folder / name).iterdir()]
    client.post("/sdapi/v1/refresh-loras")
    shared.reload_hypernetworks()
    yield
    for copy in copies:
        Path(copy).unlink()
    client.post("/sdapi/v1/refresh-loras")
    shared.reload_hypernetworks()


@pytest.mark.parametrize("name", [name for name in NETWORKS.cases if name != LEAKS])
def test_case_equals_v1_10_1(client, folders, name):
    assert NETWORKS.problems(name, NETWORKS.run(client, NETWORKS.cases[name])) == []


def test_job_without_networks_is_free_of_those_before(client, folders):
    NETWORKS.run(client, NETWORKS.cases["lora_half"])
    response = NETWORKS.run(client, NETWORKS.cases[LEAKS])
    (image,) = golden.pictures_of(response.json())
    (plain,) = NETWORKS.expected["asset_baseline_first"]["images"]
    assert NETWORKS.picture_problem(image, plain) is None
    assert golden.infotexts_of(response.json())[0].startswith("red apple <lora:lab-lora:1>\nSteps: 8")
