"""Measures for Prometheus, from real jobs, behind a flag."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from modules import call_queue, shared

SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1}


@pytest.fixture
def measured(client, monkeypatch):
    """Returns {name: {labels: value}} of an application that was started with the flag."""
    monkeypatch.setattr(shared.cmd_opts, "metrics", True)
    from modules.api.api import Api

    Api(app := FastAPI(), call_queue.queue_lock)
    measuring = TestClient(app)

    def measure():
        families = text_string_to_metric_families(measuring.get("/metrics").text)
        found = {}
        for family in families:
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found

    return measure


def test_without_the_flag_there_is_nothing(client):
    assert client.get("/metrics").status_code == 404


def test_jobs_are_counted_and_timed(client, measured):
    before = measured()
    assert client.post("/sdapi/v1/txt2img", json=SMALL).status_code == 200
    after = measured()
    done = (("kind", "txt2img"), ("state", "done"))
    assert after["serena_jobs_over_total"][done] == before.get("serena_jobs_over_total", {}).get(done, 0) + 1
    assert after["serena_jobs"][(("state", "done"),)] == before["serena_jobs"][(("state", "done"),)] + 1
    running = (("kind", "txt2img"), ("stage", "running"))
    assert after["serena_job_seconds_count"][running] >= 1
    assert after["serena_resident_memory_bytes"][()] > 10**8 and after["serena_queue_length"][()] == 0
