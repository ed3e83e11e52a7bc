"""What a request costs beyond its networks: time of a txt2img request over HTTP, 128x128, minus its U-Net, text encoder
and VAE calls; with one step, and for each further one.

    python benchmarks/request_overhead.py [--count 30]

Prints the medians in milliseconds, the first as a share of the request too. Every request has a prompt of its own, so
that the text encoder is really called. The connection stays open, as clients keep theirs.
"""

import argparse
import http.client
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.common import NetworkClock, network_clock, own_server  # noqa: E402

HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
MORE_STEPS = 20


def overhead(
    connection: http.client.HTTPConnection, clock: NetworkClock, number: int, steps: int
) -> tuple[float, float]:
    """Returns the milliseconds of a request that no network runs in, and their share of it."""
    request = {"prompt": f"red apple {number}", "width": 128, "height": 128, "steps": steps, "seed": number + 10}
    clock.seconds = 0.0
    started = time.perf_counter()
    connection.request("POST", "/sdapi/v1/txt2img", json.dumps(request), HEADERS)
    answer = connection.getresponse()
    content = answer.read()
    total = time.perf_counter() - started
    assert answer.status == 200, content[:300]
    return 1000 * (total - clock.seconds), 1 - clock.seconds / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30)
    count = parser.parse_args().count

    one, more = [], []
    with own_server() as port:
        from modules import shared

        connection = http.client.HTTPConnection("127.0.0.1", port)
        with network_clock(shared.sd_model) as clock:
            for number in range(-3, count):  # the first three warm up
                found = overhead(connection, clock, number, 1)
                further = overhead(connection, clock, number + count + 3, 1 + MORE_STEPS) if number % 5 == 0 else None
                if number >= 0:
                    one.append(found)
                    more += [further] if further else []
    milliseconds, share = (statistics.median(values) for values in zip(*one, strict=True))
    print(f"request overhead, median of {count}: {milliseconds:.1f} ms, {100 * share:.0f} % of the request")
    each = (statistics.median(milliseconds for milliseconds, _ in more) - milliseconds) / MORE_STEPS
    print(f"each further step, median of {len(more)}: {each:.2f} ms")


if __name__ == "__main__":
    main()
