"""The same for prompts with networks, embeddings and hypernetworks: v1.10.1's pictures and infotexts."""

import pytest

from test.quality import golden

NETWORKS = golden.NETWORKS

BEFORE = {"lora_disable_extra_networks": "lora_img2img"}
"""Cases whose picture depends on the job before: that flag leaves networks as they are."""


@pytest.mark.parametrize("name", NETWORKS.cases)
def test_case_equals_v1_10_1(client, network_files, name):
    if name in BEFORE:
        NETWORKS.run(client, NETWORKS.cases[BEFORE[name]])
    assert NETWORKS.problems(name, NETWORKS.run(client, NETWORKS.cases[name])) == []


def test_job_is_free_of_networks_of_those_before(client, network_files):
    for name in ("lora_half", "lora_disable_extra_networks", "asset_baseline_first"):
        response = NETWORKS.run(client, NETWORKS.cases[name])
    assert NETWORKS.problems("asset_baseline_first", response) == []
