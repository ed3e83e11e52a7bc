#!/usr/bin/env bash
# torch 2.13.0 on Linux: small operations take longer for as long as another thread that has once computed is alive,
# even if all that thread does is wait.
#
# GNU's OpenMP, which comes with torch, keeps a team of threads for each thread of a program that has computed, and counts
# the members of all teams as running. If they are more than there are processors, threads that wait for each other
# sleep after 100 turns instead of many thousands: twice an operation. Such a thread may belong to a pool of a web server. Where
# `OMP_WAIT_POLICY=ACTIVE` is set, it is 1000 turns, which small operations are done within. Needs an idle machine of at
# least two processors. Seen on two: "sleeps in 1000 products: alone 0, 160 us each; beside a thread that waits 3987, 247
# us each; after it has ended 0, 161 us each; beside one with OMP_WAIT_POLICY=ACTIVE 11, 159 us each".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6

cat > "$folder/count.py" <<'PYTHON'
import resource
import statistics
import sys
import threading
import time

import torch

left, right = torch.randn(512, 64), torch.randn(64, 512)


def sleeps():
    """Times that threads of this process have gone to sleep in a thousand products, and microseconds of one."""
    for _ in range(100):
        left @ right
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw, []
    for _ in range(1000):
        started = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - started)
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before, round(statistics.median(times) * 1e6)


over, computed = threading.Event(), threading.Event()


def compute_once_and_wait():
    torch.randn(1024, 1024) @ torch.randn(1024, 1024)
    computed.set()
    over.wait()


found = [sleeps()]
other = threading.Thread(target=compute_once_and_wait)
other.start()
computed.wait()
found.append(sleeps())
over.set()
other.join()
time.sleep(0.5)
found.append(sleeps())
print(*(number for pair in found for number in pair))
PYTHON

read -r alone alone_us beside beside_us after after_us < <("$folder/venv/bin/python" "$folder/count.py")
read -r _ _ active active_us _ < <(OMP_WAIT_POLICY=ACTIVE "$folder/venv/bin/python" "$folder/count.py")
echo "sleeps in 1000 products: alone $alone, $alone_us us each; beside a thread that waits $beside, $beside_us us each;" \
  "after it has ended $after, $after_us us each; beside one with OMP_WAIT_POLICY=ACTIVE $active, $active_us us each"
((beside > 1000 && alone < beside / 4 && after < beside / 4 && active < beside / 4))
echo "as described"
