"""face: /metrics for Prometheus, with --metrics: jobs, how long they wait and run, memory."""

from __future__ import annotations

from collections.abc import Iterator

import prometheus_client
import psutil
import torch
from fastapi import APIRouter, Response
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from modules import call_queue, devices, jobs
from modules.http_paths import METRICS_PATH
from modules.job.row import OVER, Row, State

SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
"""Upper ends of the classes that waiting and running are sorted into."""

router = APIRouter(tags=["server"])
registry = CollectorRegistry()
job_seconds = prometheus_client.Histogram(
    "serena_job_seconds", "Seconds of jobs by stage", ["kind", "stage"], buckets=SECONDS, registry=registry
)
jobs_over = prometheus_client.Counter("serena_jobs_over", "Jobs that are over", ["kind", "state"], registry=registry)


class Program(Collector):
    """What is measured when it is asked for."""

    def collect(self) -> Iterator[Metric]:
        """Yields each measure."""
        yield GaugeMetricFamily("serena_queue_length", "Jobs that wait for the device", len(call_queue.queue.waiting()))
        counts = jobs.journal().store.counts()
        states = GaugeMetricFamily("serena_jobs", "Jobs that are remembered, by state", labels=["state"])
        for state in State:
            states.add_metric([state], counts.get(state, 0))
        yield states
        memory = psutil.Process().memory_info().rss
        yield GaugeMetricFamily("serena_resident_memory_bytes", "Main memory of the program", memory)
        if torch.cuda.is_available() and devices.device.type == "cuda":
            used = torch.cuda.memory_allocated(devices.device)
            yield GaugeMetricFamily("serena_device_memory_bytes", "Memory of the device in use", used)


def count(row: Row) -> None:
    """Counts a job that is over."""
    if row.state not in OVER or row.ended is None:
        return
    jobs_over.labels(row.kind, row.state).inc()
    if row.started is not None:
        job_seconds.labels(row.kind, "waiting").observe(row.started - row.submitted)
        job_seconds.labels(row.kind, "running").observe(row.ended - row.started)


registry.register(Program())
jobs.listeners.append(count)


@router.get(METRICS_PATH, summary="Measures of the program, as Prometheus reads them")
def metrics() -> Response:
    """Answers all measures."""
    return Response(prometheus_client.generate_latest(registry), media_type=prometheus_client.CONTENT_TYPE_LATEST)
