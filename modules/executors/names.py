"""base: the devices of --devices: "all", "0,1" or "cpu*2"."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from modules import launch_process
from modules.errors import InvalidInput

ENTRY = re.compile(r"(all|cpu|\d+)(?:\*(\d+))?")
MOST = 256
"""Workers that one program has."""


@dataclass(frozen=True)
class Device:
    """The device of one worker. number: of a CUDA device; None for the CPU."""

    number: int | None = None

    def __str__(self) -> str:
        return "cpu" if self.number is None else f"cuda:{self.number}"

    def flags(self) -> list[str]:
        """Returns the flags that start a program on this device."""
        return ["--use-cpu", "all"] if self.number is None else ["--device-id", str(self.number)]


def parse(text: str, count: Callable[[], int]) -> list[Device]:
    """Returns one device for each worker. count: tells how many CUDA devices there are; without any, "all" is the CPU.

    Raises InvalidInput for a text that names no devices.
    """
    devices: list[Device] = []
    for entry in text.replace(" ", "").lower().split(","):
        found = ENTRY.fullmatch(entry)
        if found is None:
            raise InvalidInput(
                f"--devices: {entry!r} is no device: give all, or numbers and cpu, as in 0,1,cpu*2", "devices"
            )
        name, times = found[1], int(found[2] or 1)
        if name == "all":
            named = [Device(number) for number in range(count())] or [Device()]
        else:
            named = [Device() if name == "cpu" else Device(int(name))]
        if not 1 <= times <= MOST or len(devices) + len(named) * times > MOST:
            raise InvalidInput(f"--devices: {text!r} asks for 0 or more than {MOST} workers", "devices")
        devices += named * times
    return devices


def threads_each(devices: list[Device]) -> int:
    """Returns the threads that each worker of a CPU computes with, so that together they have the cores there are."""
    own = sum(device.number is None for device in devices)
    return max(1, launch_process.cores() // max(own, 1))
