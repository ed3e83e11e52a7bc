"""job: where workers come from: processes of this machine, or actors of Ray."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from modules.executors import local, names, ray_workers
from modules.executors.names import Device

if TYPE_CHECKING:
    from modules.executors.pool import Pool

FLAGS = ("--disable-console-progressbars",)
"""Of all workers: the bars of several would write over each other."""


def make_pool(devices: list[Device], ray_address: str | None = None) -> Pool:
    """Returns workers on some devices, not yet started. Raises NotSupported where Ray is asked for and missing."""
    from modules.executors.pool import Pool, Worker  # and with it torch, which the first answer need not wait for

    if ray_address is not None:
        ray_workers.connect(ray_address)
    flags, threads = [*sys.argv[1:], *FLAGS], names.threads_each(devices)
    seen: Counter[Device] = Counter()
    workers = []
    for device in devices:
        seen[device] += 1
        name = f"{device}*{seen[device]}" if devices.count(device) > 1 else str(device)
        if ray_address is None:
            connect = partial(local.LocalWorker, name, device, flags, threads)
        else:
            connect = partial(ray_workers.RayWorker, name, device, flags, threads, ray_address)
        workers.append(Worker(name, connect))
    return Pool(workers)


def devices_of(text: str | None, ray_address: str | None) -> list[Device]:
    """Returns the devices that the flags name: those of this machine, or of the cluster. Raises InvalidInput."""
    if ray_address is not None:
        return names.parse(text or "all", partial(ray_workers.count_gpus, ray_address))
    return [] if text is None else names.parse(text, local.count_gpus)
