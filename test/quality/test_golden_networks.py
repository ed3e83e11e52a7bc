"""The same for prompts with networks, embeddings and hypernetworks: v1.10.1's pictures and infotexts."""

import pytest

from test.quality import golden

NETWORKS = golden.NETWORKS

LEAKS = "lora_disable_extra_networks"
"""v1.10.1 leaves the network of the job before in the model there; docs/compatibility.md has a row on it."""


@pytest.mark.parametrize("name", [name for name in NETWORKS.cases if name != LEAKS])
def test_case_equals_v1_10_1(client, network_files, name):
    assert NETWORKS.problems(name, NETWORKS.run(client, NETWORKS.cases[name])) == []


def test_job_without_networks_is_free_of_those_before(client, network_files):
    NETWORKS.run(client, NETWORKS.cases["lora_half"])
    response = NETWORKS.run(client, NETWORKS.cases[LEAKS])
    (image,) = golden.pictures_of(response.json())
    (plain,) = NETWORKS.expected["asset_baseline_first"]["images"]
    assert NETWORKS.picture_problem(image, plain) is None
    assert golden.infotexts_of(response.json())[0].startswith("red apple <lora:lab-lora:1>\nSteps: 8")
