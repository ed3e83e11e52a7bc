"""What a request costs beyond its networks: time of a 1-step 128x128 txt2img request minus its U-Net, text encoder and
VAE calls.

    python benchmarks/request_overhead.py [--count 30]

Prints the median in milliseconds and as a share of the request. Every request has a prompt of its own, so that the
text encoder is really called.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.common import api_client, network_clock  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30)
    count = parser.parse_args().count

    client = api_client()
    from modules import shared

    overheads, shares = [], []
    with network_clock(shared.sd_model) as clock:
        for number in range(-3, count):  # the first three warm up
            clock.seconds = 0.0
            request = {"prompt": f"red apple {number}", "width": 128, "height": 128, "steps": 1, "seed": number + 10}
            started = time.perf_counter()
            client.post("/sdapi/v1/txt2img", json=request).raise_for_status()
            total = time.perf_counter() - started
            if number >= 0:
                overheads.append(1000 * (total - clock.seconds))
                shares.append(1 - clock.seconds / total)
    overhead, share = statistics.median(overheads), statistics.median(shares)
    print(f"request overhead, median of {count}: {overhead:.1f} ms, {100 * share:.0f} % of the request")


if __name__ == "__main__":
    main()
