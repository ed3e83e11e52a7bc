"""job: where workers come from: processes of this machine, or actors of Ray."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial

from modules.executors import local, names
from modules.executors.names import Device
from modules.executors.pool import Pool, Worker


def make_pool(devices: list[Device], ray_address: str | None) -> Pool:
    """Returns the workers of some devices, not yet started. Raises InvalidInput where Ray is asked for and missing."""
    flags, threads = sys.argv[1:], names.threads_each(devices)
    seen: Counter[str] = Counter()
    workers = []
    for device in devices:
        seen[str(device)] += 1
        is_one_of_many = devices.count(device) > 1
        name = f"{device}*{seen[str(device)]}" if is_one_of_many else str(device)
        workers.append(Worker(name, partial(local.LocalWorker, name, device, flags, threads)))
    return Pool(workers)
